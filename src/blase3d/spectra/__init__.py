"""Observed and computed spectra: the record `Spectrum`, continuum, broadening, telluric bands.

`formats` reads and writes spectra: .npz, .ecsv, .csv and .fits.
"""
