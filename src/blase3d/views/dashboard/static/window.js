// The window, its middle and its width follow each other, whichever is changed.
// One change sets all of them; the events that this causes are ignored.
if (busy.moving) return
busy.moving = true
const [low, high, least] = limits
let middle, width
const of_range = () => { middle = (range.start + range.end) / 2; width = range.end - range.start }
of_range()
if (cb_obj === centre) middle = centre.value
else if (cb_obj === span) width = 10 ** span.value
else if (cb_obj === centre_box && centre_box.value != null) middle = centre_box.value
else if (cb_obj === span_box && span_box.value != null) width = span_box.value
width = Math.min(Math.max(width, least), high - low)
middle = Math.min(Math.max(middle, low + width / 2), high - width / 2)
const start = middle - width / 2, end = middle + width / 2
const far = (a, b) => Math.abs(a - b) > 1e-6 * width
if (far(range.start, start)) range.start = start
if (far(range.end, end)) range.end = end
if (cb_obj !== centre) centre.value = middle
if (cb_obj !== span) span.value = Math.log10(width)
centre_box.value = Number(middle.toFixed(middle < 1e4 ? 2 : 1))
span_box.value = Number(width.toPrecision(4))
busy.moving = false
