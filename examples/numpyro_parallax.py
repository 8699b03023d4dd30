"""Two spectra of one star with its parallax and magnitude, by NumPyro.

    pip install 'blase3d[samplers]'
    python examples/numpyro_parallax.py

The spectra have common labels, and each has its velocity. Magnitude and parallax limit log g:
log g = 4.438 + log M + 4 log(Teff / 5772 K) + 0.4 (M_bol − 4.74), with M in solar masses.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro import deterministic, factor, sample
from numpyro.diagnostics import print_summary
from numpyro.infer import MCMC, NUTS, init_to_value

import blase3d as b3

TRUTH = {"teff": 5400.0, "logg": 4.45, "feh": -0.2}
VELOCITIES = (-12.0, 31.0)  # km/s
MASS, PARALLAX = 0.9, 20.0  # solar masses, mas
# bolometric correction of Gaia G, 4000 to 8000 K (Andrae et al. 2018, A&A 616, A8, table 4)
CORRECTION = (-7.197e-15, 2.859e-11, -6.647e-8, 6.731e-5, 6.0e-2)


def observed(model, rv, seed):
    """Return 12 Å of a spectrum with R 20,000 and a signal-to-noise ratio of 50."""
    wavelength = np.arange(6156.0, 6168.0, 0.1)
    flux = np.array(model.flux(**TRUTH, rv=rv, resolution=20_000, wavelength=wavelength), float)
    flux += np.random.default_rng(seed).normal(0.0, 0.02, flux.size)
    return b3.Spectrum(wavelength, flux, np.full(flux.size, 0.02), resolution=20_000.0)


def magnitude(teff, logg, mass, parallax):
    """Return the magnitude G without extinction, at a parallax (mas)."""
    log_luminosity = jnp.log10(mass) + 4.438 - logg + 4.0 * jnp.log10(teff / 5772.0)
    correction = jnp.polyval(jnp.array(CORRECTION), teff - 5772.0)
    return 4.74 - 2.5 * log_luminosity - correction + 10.0 - 5.0 * jnp.log10(parallax)


def together(likelihoods):
    """Return the weighted mean of the solutions, labels and two velocities, and the root of its
    covariance: the sum of their Fisher information, inverted."""
    information, weighted = np.zeros((5, 5)), np.zeros(5)
    for columns, one in zip(([0, 1, 2, 3], [0, 1, 2, 4]), likelihoods, strict=True):
        precision = np.linalg.inv(one.answer.covariance)
        information[np.ix_(columns, columns)] += precision
        weighted[columns] += precision @ [one.best[name] for name in one.names]
    covariance = np.linalg.inv(information)
    return covariance @ weighted, np.linalg.cholesky(covariance)


def main() -> None:
    model = b3.load_model("vis")
    spectra = [observed(model, rv, seed) for seed, rv in enumerate(VELOCITIES)]
    likelihoods = [b3.log_likelihood(one, model, fixed={"vsini": 0.0}) for one in spectra]
    for number, one in enumerate(likelihoods, 1):
        print(f"spectrum {number} alone:", one.answer)
    center, root = together(likelihoods)
    # one likelihood with arrays of two, compiled once for both
    both = jax.tree.map(lambda *arrays: jnp.stack(arrays), *likelihoods)
    seen = float(magnitude(TRUTH["teff"], TRUTH["logg"], MASS, PARALLAX))

    def posterior(both):
        # flat in the labels: standard deviations from the solution of both spectra
        steps = sample("steps", dist.ImproperUniform(dist.constraints.real_vector, (), (5,)))
        values = center + root @ steps
        labels = dict(zip(TRUTH, values, strict=False))
        for name, value in labels.items():
            deterministic(name, value)
        rv = deterministic("rv", values[3:])
        mass = deterministic("mass", MASS + 0.05 * sample("of_mass", dist.Normal()))
        parallax = deterministic("parallax", PARALLAX + 0.02 * sample("of_parallax", dist.Normal()))
        expected = magnitude(labels["teff"], labels["logg"], mass, parallax)
        sample("G", dist.Normal(expected, 0.02), obs=seen)
        each = jax.vmap(lambda one, velocity: one({**labels, "rv": velocity}))(both, rv)
        factor("spectra", each.sum())

    start = {"steps": jnp.zeros(5), "of_mass": 0.0, "of_parallax": 0.0}
    init = init_to_value(values=start)
    kernel = NUTS(posterior, dense_mass=True, max_tree_depth=4, init_strategy=init)
    chains = MCMC(kernel, num_warmup=60, num_samples=200, jit_model_args=True, progress_bar=False)
    chains.run(jax.random.key(0), both)
    draws = chains.get_samples(group_by_chain=True)
    truth = {**TRUTH, "mass": MASS, "parallax": PARALLAX, "rv": VELOCITIES}
    print("truth:", ", ".join(f"{name} {value}" for name, value in truth.items()))
    print_summary({name: draws[name] for name in truth}, prob=0.68)
    print("divergent draws:", int(chains.get_extra_fields()["diverging"].sum()))


if __name__ == "__main__":
    main()
