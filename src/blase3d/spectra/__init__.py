"""Spectra of stars: the record, its continuum, broadening, and file formats."""
