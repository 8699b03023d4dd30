"""Libraries of spectra, computed with Turbospectrum on MARCS atmospheres from public packages.

`described` has the table of libraries, `packages` fetches and builds, `linelists` and `atmospheres`
convert what the codes read, `turbospectrum` computes a spectrum, `jobs` is the queue, and `pack`
writes the grid file. `tools/compute_library.py` is the command.
"""
