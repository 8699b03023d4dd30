"""Uses of a model beyond inference.

Errors at nodes and between them (validation), comparison of libraries, Fisher information of the
lines, identification of the lines with atoms, tuning of the lines to a star, and their calibration
with stars of known labels.
"""
