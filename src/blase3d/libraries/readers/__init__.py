"""Readers of spectral libraries, one module a library."""
