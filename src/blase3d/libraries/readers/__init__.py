"""Readers of spectral libraries, one module each.

`spectrum_files.py` and `described.py` are for folders of spectra, `text.py` and `resample.py` are
shared by readers.
"""
