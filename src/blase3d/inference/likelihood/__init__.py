"""The likelihood of an observed spectrum.

likelihood.py     chi-square at θ, its derivatives, and the estimate of the errors
data.py           the observation as arrays
forward.py        parameters to flux on the pixels of the data
marginal.py       continuum and error modes, solved for
error_budget.py   errors of pixels and model in one budget
"""
