"""Noise models: one module each, one row each in `NOISE_MODELS`."""

from __future__ import annotations

from collections.abc import Mapping

from .jitter import Jitter
from .noise import NoiseModel
from .scaled import Scaled

NOISE_MODELS: Mapping[str, NoiseModel] = {"scaled": Scaled(), "jitter": Jitter()}
"""Noise models by the name that the option `noise` of `infer` takes."""
