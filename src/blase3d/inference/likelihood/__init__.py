"""The likelihood of an observed spectrum: data, forward model, noise, and linear nuisances."""
