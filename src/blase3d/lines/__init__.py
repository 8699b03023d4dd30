"""Absorption lines: profile, composition, rendering, detection, catalogue."""
