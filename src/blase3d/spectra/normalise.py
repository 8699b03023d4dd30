"""Normalisation: a spectrum divided by its continuum, as a recipe says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..recipe import Recipe
from .continuum import fit_continuum
from .spectrum import Spectrum


def normalise(spectrum: Spectrum, recipe: Recipe, teff: float | None = None) -> Spectrum:
    """The spectrum in units of its continuum.

    With `recipe.continuum` `library` the continuum that the spectrum brings is used, where it
    brings one; otherwise it is fitted: the blackbody of `teff` (K; None leaves it out) times a
    polynomial of `recipe.continuum_degree`.

    Raises
    ------
    SpectrumError
        The continuum cannot be fitted.
    """
    continuum = spectrum.continuum if recipe.continuum == "library" else None
    if continuum is None:
        flux = np.where(spectrum.good, spectrum.flux, np.nan)
        continuum = fit_continuum(spectrum.wavelength, flux, teff, recipe.continuum_degree)
    error = None if spectrum.error is None else spectrum.error / continuum
    ones = np.ones_like(continuum)
    return replace(spectrum, flux=spectrum.flux / continuum, error=error, continuum=ones)
