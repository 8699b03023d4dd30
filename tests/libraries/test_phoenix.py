"""The PHOENIX reader, on small files written in exactly the layout of the library."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from astropy.io import fits

from blase3d.errors import GridError, LabelError
from blase3d.libraries import open_grid, open_phoenix, write_grid
from blase3d.libraries.readers.phoenix import WAVE_FILE, labels_of_name, phoenix_path

WAVE = np.concatenate([np.arange(9990.0, 10000.0, 0.01), np.arange(10000.0, 10010.0, 0.02)])
NODES = [
    (5800, 4.5, 0.0, 0.0),
    (5800, 4.5, -0.5, 0.0),
    (5900, 4.5, 0.0, 0.0),
    (5900, -0.5, 0.0, 0.0),
]


def flux_of(teff, logg, feh, alpha):
    """Flux per cm that tells every node apart."""
    depth = 0.1 * (2 + logg / 10 + feh / 10 + alpha / 10)
    line = depth * np.exp(-(((WAVE - 10000) / 0.2) ** 2))
    return (teff * 1e10 * (1 - line)).astype(np.float32)


def write_node(root, node, flux=None, **cards):
    """A spectrum as the library has it: primary image, and a table of abundances."""
    keys = ("PHXTEFF", "PHXLOGG", "PHXM_H", "PHXALPHA")
    header = fits.Header({**dict(zip(keys, node, strict=True)), "PHXXI_L": 1.0, "PHXCONV": True})
    header.update({"BUNIT": "erg/s/cm^2/cm", **cards})
    image = fits.PrimaryHDU(flux_of(*node) if flux is None else flux, header)
    abundances = fits.BinTableHDU.from_columns(
        [fits.Column("H", "E", array=[12.0]), fits.Column("Fe", "E", array=[7.5 + node[2]])],
        name="ABUNDANCES",
    )
    path = root / phoenix_path(*node)
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList([image, abundances]).writeto(path, overwrite=True)
    return path


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "cache" / "library"
    root.mkdir(parents=True)
    fits.PrimaryHDU(WAVE).writeto(root / WAVE_FILE)
    for node in NODES:
        write_node(root, node)
    return root


def hires(z, name):
    stem = "PHOENIX-ACES-AGSS-COND-2011"
    return f"{stem}/{z}/{name}.{stem}-HiRes.fits"


@pytest.mark.parametrize(
    ("labels", "path"),
    [
        ((5800, 4.5, 0.0), hires("Z-0.0", "lte05800-4.50-0.0")),
        ((5800, 4.5, -0.0, -0.0), hires("Z-0.0", "lte05800-4.50-0.0")),
        ((12000, 6, 0.5), hires("Z+0.5", "lte12000-6.00+0.5")),
        ((2300, 0, -4), hires("Z-4.0", "lte02300-0.00-4.0")),
        ((2300, -0.0, -1.5), hires("Z-1.5", "lte02300-0.00-1.5")),
        ((3500, -0.5, 0), hires("Z-0.0", "lte03500+0.50-0.0")),
        ((3500, 0.5, 0, -0.2), hires("Z-0.0.Alpha=-0.20", "lte03500-0.50-0.0.Alpha=-0.20")),
        ((3500, 5, -3, 1.2), hires("Z-3.0.Alpha=+1.20", "lte03500-5.00-3.0.Alpha=+1.20")),
    ],
)
def test_names_of_files(labels, path):
    assert phoenix_path(*labels) == path
    found = labels_of_name(path.rpartition("/")[2])
    assert tuple(found.values()) == (*labels, 0.0)[:4]
    assert not any(np.signbit(value) for value in found.values() if value == 0)


@pytest.mark.parametrize(
    "labels", [(5777.5, 4.5, 0), (5800, 4.444, 0), (5800, 4.5, -0.04), (5800, 4.5, 0, 0.001)]
)
def test_labels_between_names_are_refused(labels):
    with pytest.raises(LabelError, match="for the name of a PHOENIX file"):
        phoenix_path(*labels)


def test_a_folder_is_a_grid(root):
    grid = open_grid(root)
    assert len(grid) == 4
    assert grid.label_names == ("teff", "logg", "feh")
    assert grid.meta["fixed_labels"] == {"alpha": 0.0}
    np.testing.assert_array_equal(grid.wavelength, WAVE)
    i = grid.find(teff=5900, logg=-0.5, feh=0)
    np.testing.assert_allclose(grid[i].flux, flux_of(5900, -0.5, 0, 0) * 1e-8, rtol=1e-6)
    assert grid[i].continuum is None
    assert {"teff": 5800.0, "logg": -0.5, "feh": 0.0} in grid.holes()
    assert grid.n_holes == 4
    assert pickle.loads(pickle.dumps(grid))[0].flux[0] == grid[0].flux[0]


def test_a_range_of_wavelengths(root):
    grid = open_phoenix(root, wave=(9999.0, 10001.0))
    inside = (WAVE >= 9999.0) & (WAVE <= 10001.0)
    np.testing.assert_array_equal(grid.wavelength, WAVE[inside])
    np.testing.assert_array_equal(grid[0].flux, open_phoenix(root)[0].flux[inside])
    assert grid.fingerprint() == open_phoenix(root).cut(9999.0, 10001.0).fingerprint()
    with pytest.raises(GridError, match="choose a range inside"):
        open_phoenix(root, wave=(100.0, 200.0))


def test_alpha_is_a_label_where_it_varies(root):
    write_node(root, (5800, 4.5, 0.0, 0.4))
    write_node(root, (5800, 4.5, 0.0, -0.2))
    grid = open_phoenix(root)
    assert grid.label_names == ("teff", "logg", "feh", "alpha")
    assert grid.axes["alpha"].tolist() == [-0.2, 0.0, 0.4]
    i = grid.find(teff=5800, logg=4.5, feh=0, alpha=0.4)
    np.testing.assert_allclose(grid[i].flux, flux_of(5800, 4.5, 0, 0.4) * 1e-8, rtol=1e-6)


def test_alpha_of_one_value_is_kept_in_meta(tmp_path):
    fits.PrimaryHDU(WAVE).writeto(tmp_path / WAVE_FILE)
    write_node(tmp_path, (5800, 4.5, 0.0, 0.4))
    assert open_phoenix(tmp_path).meta["fixed_labels"] == {"alpha": 0.4}


def test_the_library_is_found_below_and_above(root):
    parent = open_phoenix(root.parent)
    assert len(parent) == 4
    below = open_phoenix(root / "PHOENIX-ACES-AGSS-COND-2011")
    assert len(below) == 4
    one = open_phoenix(root / "PHOENIX-ACES-AGSS-COND-2011" / "Z-0.5")
    assert [one.describe(i) for i in range(len(one))] == ["teff=5800 logg=4.5 feh=-0.5"]


def test_flags_of_nodes(root, tmp_path):
    write_node(root, NODES[0], PHXCONV=False)
    write_node(root, NODES[2], INTERPOL=True)
    grid = open_phoenix(root)

    def flags(of, node):
        spectrum = of[of.find(**dict(zip(("teff", "logg", "feh"), node[:3], strict=True)))]
        return spectrum.meta["node_flags"]

    assert flags(grid, NODES[0]) == {"no_convection": True}
    assert flags(grid, NODES[1]) == {}
    assert flags(grid, NODES[2]) == {"interpolated": True}
    write_grid(grid.cut(9999, 10001), tmp_path / "cut.zarr")
    assert flags(open_grid(tmp_path / "cut.zarr"), NODES[2]) == {"interpolated": True}


def test_files_are_opened_only_when_asked_for(root):
    (root / phoenix_path(*NODES[0])).write_bytes(b"")
    grid = open_phoenix(root)
    assert len(grid) == 4
    assert grid.fingerprint()
    with pytest.raises(GridError, match=r"lte05800-4.50-0.0.* cannot be read as a PHOENIX file"):
        grid[grid.find(teff=5800, logg=4.5, feh=0)]
    assert grid[grid.find(teff=5900, logg=4.5, feh=0)].n_masked == 0


@pytest.mark.parametrize("keep", [100, 2880, 5000, 8000])
def test_files_cut_short(root, keep):
    path = root / phoenix_path(*NODES[1])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(GridError, match=r"lte05800-4.50-0.5.*cut short"):
        open_phoenix(root)[0]


def test_a_spectrum_with_nan_is_named(root):
    flux = flux_of(*NODES[1])
    flux[10] = np.nan
    write_node(root, NODES[1], flux)
    with pytest.raises(GridError, match=r"teff=5800 logg=4.5 feh=-0.5 .*not finite"):
        open_phoenix(root)[0]


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        ({"PHXTEFF": 5700.0}, "teff=5800 in its name but PHXTEFF=5700 in its header"),
        ({"PHXLOGG": 4.0}, "PHXLOGG=4"),
        ({"PHXM_H": 0.0}, "PHXM_H=0"),
        ({"PHXALPHA": 0.2}, "PHXALPHA=0.2"),
    ],
)
def test_headers_have_to_agree_with_names(root, cards, message):
    write_node(root, NODES[1], **cards)
    with pytest.raises(GridError, match=message):
        open_phoenix(root)[0]


def test_headers_without_labels_are_accepted(root):
    path = root / phoenix_path(*NODES[1])
    fits.PrimaryHDU(flux_of(*NODES[1])).writeto(path, overwrite=True)
    assert open_phoenix(root)[0].n_masked == 0


def test_spectra_have_to_fit_the_wavelengths(root):
    write_node(root, NODES[1], flux_of(*NODES[1])[:-1])
    with pytest.raises(GridError, match=f"expected the {len(WAVE)} of {WAVE_FILE}"):
        open_phoenix(root)[0]


def test_missing_pieces(root, tmp_path_factory):
    with pytest.raises(GridError, match="leave out medium"):
        open_grid(root, medium="air")
    (root / WAVE_FILE).unlink()
    with pytest.raises(GridError, match=f"has no {WAVE_FILE}"):
        open_phoenix(root)
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(GridError, match="has no PHOENIX spectra"):
        open_phoenix(empty)


def test_unfinished_and_foreign_files_are_passed_over(root):
    folder = (root / phoenix_path(*NODES[0])).parent
    (folder / "lte06000-4.50-0.0.PHOENIX-ACES-AGSS-COND-2011-HiRes.fits.part").write_bytes(b"half")
    (folder / "notes.txt").write_text("mine")
    assert len(open_phoenix(root)) == 4
