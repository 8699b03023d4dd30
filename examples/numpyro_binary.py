"""A spectrum with the lines of two stars, each by a model, by NumPyro.

    pip install 'blase3d[samplers]'
    python examples/numpyro_binary.py

`b3.log_likelihood` is for single stars. For any other form of the flux, `model.flux` works inside
compiled functions, and the likelihood is written by hand: here it includes neither the continuum
nor the errors of the models. Both stars are dwarfs of one metallicity.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro import factor, sample
from numpyro.diagnostics import print_summary
from numpyro.infer import MCMC, NUTS, init_to_value

import blase3d as b3

TRUTH = {"teff_1": 5800.0, "teff_2": 4700.0, "feh": -0.1, "light_2": 0.25}
TRUTH |= {"rv_1": -30.0, "rv_2": 45.0}  # km/s
START = {"teff_1": 5600.0, "teff_2": 5000.0, "feh": 0.0, "light_2": 0.3}
START |= {"rv_1": -29.0, "rv_2": 44.0}  # as from a cross-correlation
WAVELENGTH = np.arange(6156.0, 6168.0, 0.1)
ERROR = 0.01


def flux_of_both(models, values):
    """Return the flux of two dwarfs, the second with the fraction `light_2` of the light."""
    common = {"logg": 4.5, "feh": values["feh"], "resolution": 20_000, "wavelength": WAVELENGTH}
    first = models[0].flux(teff=values["teff_1"], rv=values["rv_1"], **common)
    second = models[1].flux(teff=values["teff_2"], rv=values["rv_2"], **common)
    return (1.0 - values["light_2"]) * first + values["light_2"] * second


def posterior(models, flux):
    values = {
        "teff_1": sample("teff_1", dist.Uniform(4000.0, 7000.0)),
        "teff_2": sample("teff_2", dist.Uniform(4000.0, 7000.0)),
        "feh": sample("feh", dist.Uniform(-1.0, 0.5)),
        "light_2": sample("light_2", dist.Uniform(0.0, 0.5)),
        "rv_1": sample("rv_1", dist.Uniform(START["rv_1"] - 20.0, START["rv_1"] + 20.0)),
        "rv_2": sample("rv_2", dist.Uniform(START["rv_2"] - 20.0, START["rv_2"] + 20.0)),
    }
    chi2 = jnp.sum(((flux - flux_of_both(models, values)) / ERROR) ** 2)
    factor("spectrum", -0.5 * chi2)


def main() -> None:
    # cut to the range of the spectrum, shifted by up to 300 km/s: an argument of a compiled
    # function is evaluated whole
    model = b3.load_model("vis").part(WAVELENGTH[0], WAVELENGTH[-1], velocity=300.0)
    models = (model, model)  # of two libraries, if they suit the stars better
    flux = np.array(jax.jit(flux_of_both)(models, TRUTH), float)
    flux += np.random.default_rng(3).normal(0.0, ERROR, flux.size)

    kernel = NUTS(
        posterior,
        dense_mass=True,
        max_tree_depth=4,
        init_strategy=init_to_value(values=START),
    )
    chains = MCMC(kernel, num_warmup=300, num_samples=300, jit_model_args=True, progress_bar=False)
    chains.run(jax.random.key(0), models, flux)
    draws = chains.get_samples(group_by_chain=True)
    print("truth:", ", ".join(f"{name} {value:g}" for name, value in TRUTH.items()))
    print_summary({name: draws[name] for name in TRUTH}, prob=0.68)
    print("divergent draws:", int(chains.get_extra_fields()["diverging"].sum()))


if __name__ == "__main__":
    main()
