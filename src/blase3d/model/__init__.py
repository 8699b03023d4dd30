"""The model of a library: lines over the grid, interpolation, residual, instrument."""
