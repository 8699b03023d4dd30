// The slider has log10 of the resolution; its upper end, and an empty box, stand for none.
if (cb_obj === slider) {
  const value = Number((10 ** slider.value).toPrecision(3))
  if (slider.value >= finest) box.value = null
  else if (box.value == null || Math.abs(box.value / value - 1) > 0.006) box.value = value
} else {
  const value = box.value == null ? finest : Math.log10(box.value)
  if (Math.abs(value - slider.value) > 0.003) slider.value = value
}
