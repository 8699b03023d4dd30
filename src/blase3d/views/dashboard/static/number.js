// A slider and the box of its exact value follow each other; the range widens where it has to.
const rounded = Number(slider.value.toFixed(digits))
if (cb_obj === slider || box.value == null) box.value = rounded
else if (Math.abs(box.value - slider.value) > 0.51 * 10 ** -digits) {
  if (box.value < slider.start) slider.start = box.value
  if (box.value > slider.end) slider.end = box.value
  slider.value = box.value
}
