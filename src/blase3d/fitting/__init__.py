"""Fitting: a library of spectra becomes lines at every node, and these a model."""
