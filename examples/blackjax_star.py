"""The posterior of a star with a prior on log g, by BlackJAX.

    pip install 'blase3d[posterior]'
    python examples/blackjax_star.py

Parameters are sampled in standard deviations from the solution of least squares, with its
covariance, so that the sampler needs hardly any adaptation.
"""

import blackjax
import jax
import jax.numpy as jnp
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
    fixed = {"vsini": 0.0, "alpha": TRUTH["alpha"]}
    likelihood = b3.log_likelihood(observed(model), model, fixed=fixed)
    names = likelihood.names
    print("without the prior:", likelihood.answer)

    best = jnp.array([likelihood.best[name] for name in names])
    root = jnp.linalg.cholesky(jnp.asarray(likelihood.answer.covariance))

    def parameters(steps):
        return dict(zip(names, best + root @ steps, strict=True))

    def log_posterior(steps):
        at = parameters(steps)
        return likelihood(at) - 0.5 * ((at["logg"] - 4.45) / 0.03) ** 2  # from asteroseismology

    adapt, run = jax.random.split(jax.random.key(0))
    warmup = blackjax.window_adaptation(blackjax.nuts, log_posterior)
    (state, settings), _ = warmup.run(adapt, jnp.zeros(len(names)), 150)
    kernel = blackjax.nuts(log_posterior, **settings)

    def step(state, key):
        state, info = kernel.step(key, state)
        return state, (state.position, info.is_divergent)

    _, (steps, diverged) = jax.lax.scan(step, state, jax.random.split(run, 300))
    print(f"with the prior: {steps.shape[0]} draws, {int(diverged.sum())} divergent")
    for name, draws in jax.vmap(parameters)(steps).items():
        truth = {**TRUTH, "rv": -12.0}[name]
        print(f"  {name:5} {draws.mean():10.3f} ± {draws.std():.3f} (truth {truth:g})")


if __name__ == "__main__":
    main()
