"""The evidence and the posterior of a star, by nested sampling with dynesty.

    pip install 'blase3d[samplers]'
    python examples/dynesty_star.py

dynesty takes flat priors as a map from the unit cube. The likelihood is relative to that of the
solution of least squares, so only differences of the evidence between priors have a meaning.
"""

import dynesty
import jax
import numpy as np

import blase3d as b3

TRUTH = {"teff": 5400.0, "logg": 4.45, "feh": -0.2, "alpha": 0.2}


def observed(model):
    """Return 30 Å of a spectrum by Gaia RVS, with a signal-to-noise ratio of 100."""
    wavelength = np.arange(8530.0, 8560.0, 0.25)
    flux = np.array(model.flux(**TRUTH, rv=-12.0, resolution=11_500, wavelength=wavelength), float)
    flux += np.random.default_rng(0).normal(0.0, 0.01, flux.size)
    return b3.Spectrum(wavelength, flux, np.full(flux.size, 0.01), resolution=11_500.0)


def main() -> None:
    model = b3.load_model("rvs")
    likelihood = b3.log_likelihood(
        observed(model), model, fixed={"vsini": 0.0}, ranges={"rv": (-20.0, 0.0)}
    )
    names = likelihood.names
    compiled = jax.jit(likelihood)  # called one point at a time

    low, high = np.array([likelihood.ranges[name] for name in names]).T

    def from_cube(unit):
        return low + (high - low) * unit

    def log_likelihood(theta):
        return float(compiled(dict(zip(names, theta, strict=True))))

    sampler = dynesty.NestedSampler(
        log_likelihood, from_cube, len(names), nlive=60, rstate=np.random.default_rng(1)
    )
    sampler.run_nested(dlogz=0.5, print_progress=False)
    found = sampler.results
    draws = found.samples_equal(rstate=np.random.default_rng(2))

    print("least squares:", likelihood.answer)
    print(f"ln Z = {found.logz[-1]:.1f} ± {found.logzerr[-1]:.1f}, {found.ncall.sum()} likelihoods")
    for name, column in zip(names, draws.T, strict=True):
        truth = {**TRUTH, "rv": -12.0}[name]
        print(f"  {name:5} {column.mean():10.3f} ± {column.std():.3f} (truth {truth:g})")


if __name__ == "__main__":
    main()
