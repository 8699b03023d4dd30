"""Absorption lines: the record `Lines`, their profile, and the flux they add up to.

`detect.py` finds lines in a spectrum; `catalogue.py` matches those of many nodes.
"""

from .lines import Lines

__all__ = ["Lines"]
