"""A first star: from a library of spectra to the labels of a star, in about a minute.

    python examples/first_star.py

It needs only the package, which contains a small library around the calcium triplet. To save time,
it uses 14 Å of this library and a recipe of few steps. Results go into the folder `first-star`. A
second run is faster, since fitted lines are kept there.
"""

from pathlib import Path

import blase3d as b3
from blase3d.libraries.packaged import LIBRARY, noisy_star, packaged_grid
from blase3d.views.report import write_report


def main() -> None:
    folder = Path("first-star")
    folder.mkdir(exist_ok=True)

    # 1. A library: spectra with known labels. To open your own: b3.open_grid("library.npz").
    grid = packaged_grid(LIBRARY).cut(8656, 8670)
    print(f"{len(grid)} spectra of {grid.wavelength.size} pixels:")
    for name, values in grid.axes.items():
        print(f"  {name}: {', '.join(f'{value:g}' for value in values)}")

    # 2. From spectra to lines. For real work use b3.DEFAULT; this recipe only takes few steps.
    quick = b3.DEFAULT.replace(rounds=0, epochs=40)
    clones = b3.clone(grid, folder / "clones.zarr", quick)

    # 3. From lines to a model, in one file.
    model = b3.build(clones)
    b3.save_model(model, folder / "model.zip")
    print(f"{len(model.reference)} lines follow the labels, in {folder / 'model.zip'}")

    # 4. From labels to a spectrum, at any labels within the library.
    flux = model.flux(teff=5772, logg=4.44, feh=0.0, vsini=2.0, resolution=50_000)
    print(f"the Sun's deepest pixel has {float(flux.min()):.2f} of the continuum")

    # 5. From a spectrum to labels. The packaged star lies between the nodes, recedes, rotates, and
    #    has S/N 100 and the resolution that it states. To read your own:
    #    b3.read_spectrum("star.fits", medium="air").
    star, truth = noisy_star()
    answer = b3.infer(star, model)
    for name, found in answer.labels.items():
        print(f"  {name}: {found.value:.2f} ± {found.sigma:.2f} (truth {truth[name]:g})")
    for flag in answer.flags:
        print(f"  note: {flag}")

    # 6. A report, with the lines that constrain each label. Open it in a browser.
    write_report(folder / "star.html", answer, model, "the packaged star", truth=truth)
    print(f"look at {folder / 'star.html'}")


if __name__ == "__main__":
    main()
