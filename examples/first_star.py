"""A first star: from a library of spectra to the labels of a star, in about a minute.

    python examples/first_star.py

It needs nothing but the package: a small library around the calcium triplet ships with it. To be
quick it takes fourteen Å of this library, and a recipe of few steps. What it makes goes into the
folder `first-star`, and running it again is quicker, since lines that are fitted stay so.
"""

from pathlib import Path

import blase3d as b3
from blase3d.libraries.packaged import LIBRARY, noisy_star, packaged_grid
from blase3d.views.report import write_report


def main() -> None:
    folder = Path("first-star")
    folder.mkdir(exist_ok=True)

    # 1. A library: spectra with known labels. Of your own: b3.open_grid("library.npz").
    grid = packaged_grid(LIBRARY).cut(8656, 8670)
    print(f"{len(grid)} spectra of {grid.wavelength.size} pixels:")
    for name, values in grid.axes.items():
        print(f"  {name}: {', '.join(f'{value:g}' for value in values)}")

    # 2. Spectra to lines. b3.DEFAULT by itself is the recipe to use; this one is for impatience.
    quick = b3.DEFAULT.replace(rounds=0, epochs=40)
    clones = b3.clone(grid, folder / "clones.zarr", quick)

    # 3. Lines as functions of the labels: a model, kept in one file.
    model = b3.build(clones)
    b3.save_model(model, folder / "model.zip")
    print(f"{len(model.reference)} lines follow the labels, in {folder / 'model.zip'}")

    # 4. Labels to a spectrum, at any labels within the library.
    flux = model.flux(teff=5772, logg=4.44, feh=0.0, vsini=2.0, resolution=50_000)
    print(f"the Sun's deepest pixel has {float(flux.min()):.2f} of the continuum")

    # 5. A spectrum to labels. The packaged star is no node, recedes, and has noise of S/N 100;
    #    it was not seen through an instrument and does not rotate. A file of your own:
    #    b3.read_spectrum("star.fits", medium="air").
    star, truth = noisy_star()
    answer = b3.infer(star, model, fixed={"resolution": float("inf"), "vsini": 0.0})
    for name, found in answer.labels.items():
        print(f"  {name}: {found.value:.2f} ± {found.sigma:.2f} (truth {truth[name]:g})")
    for flag in answer.flags:
        print(f"  note: {flag}")

    # 6. Which lines does the answer rest on? Open the page in a browser.
    write_report(folder / "star.html", answer, model, "the packaged star", truth=truth)
    print(f"look at {folder / 'star.html'}")


if __name__ == "__main__":
    main()
