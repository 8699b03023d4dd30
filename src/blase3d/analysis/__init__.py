"""Uses of a model beyond inference.

Errors at nodes and between them (validation), comparison of libraries, Fisher information of the
lines, identification of the lines with atoms, and tuning of the lines to a star.
"""
