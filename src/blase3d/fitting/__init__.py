"""From a library to a model.

`clone_grid.py` fits the spectra with lines, into an archive (`archive.py`); `build.py` makes the
model from it. `original` imports archives of the original code.
"""
