"""Inference of the stars of a survey: all on the same pixels with the same line spread.

survey.py       `Survey`: the table of its instrument, and the answers
tabulated.py    labels to observed flux, tabulated for the instrument
tabulate.py     makes the table of a model
starts.py       starts of the searches of many stars, from templates of the table
searches.py     Levenberg–Marquardt of many stars at once
products.py     products of residuals and derivatives of many stars
"""
