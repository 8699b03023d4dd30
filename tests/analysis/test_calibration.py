"""Calibration: changes of lines that are known are found, and stars left out are fitted better."""

from __future__ import annotations

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from astropy import units
from astropy.table import Table
from scipy.signal import fftconvolve
from toy_models import NODEWISE

from blase3d.analysis.calibration import (
    KnownStar,
    _star_list,
    calibrate,
    missing_lines,
    read_known_stars,
)
from blase3d.analysis.calibration.block_matrix import BlockMatrix
from blase3d.analysis.calibration.cells import cells_of, groups_of
from blase3d.analysis.calibration.changes import Scales, slope_coefficients, with_changes
from blase3d.analysis.calibration.corrections import corrections_table
from blase3d.analysis.calibration.information import Information
from blase3d.analysis.calibration.joint import (
    Dense,
    Teff,
    _nearby,
    asked_slopes,
    first_prior,
    teff_of,
)
from blase3d.analysis.calibration.missing_lines import MissingLines
from blase3d.analysis.calibration.rebinned import rebinned
from blase3d.analysis.calibration.stellar_mismatch import Residual
from blase3d.analysis.calibration.too_deep import too_deep
from blase3d.analysis.calibration.trial import CalibrationTrial, LeftOut, best_of, gain_of
from blase3d.errors import InputError
from blase3d.model.line_calibration import LineCalibration
from blase3d.model.line_grid import LineGrid, joined
from blase3d.model.model import Model
from blase3d.model.model_file import load_model, save_model
from blase3d.model.queries import label_mesh
from blase3d.runtime.units import SPEED_OF_LIGHT
from blase3d.spectra.formats import write_spectrum
from blase3d.spectra.spectrum import Spectrum

RESOLUTION, SNR = 60_000.0, 200.0
ERRORS = {"teff": 15.0, "logg": 0.03, "feh": 0.02}
"""Errors of the literature."""
AXES = {
    "teff": np.array([5000.0, 5500.0, 6000.0, 6500.0]),
    "logg": np.array([4.0, 4.5, 5.0]),
    "feh": np.array([-0.5, 0.0, 0.5]),
}
STARS = (
    (5300.0, 4.6, 0.1),
    (5772.0, 4.44, 0.0),
    (6200.0, 4.3, -0.2),
    (5600.0, 4.2, 0.2),
)
LOST = np.array([25, 47, 56, 69, 100])
"""Lines that the calibrated model does not have: single ones, of depths 0.11 to 0.33."""
SPURIOUS = np.array([6307.92, 6321.32, 6325.57])
"""Wavelengths of lines of depths 0.1 to 0.4 that no star has."""


@pytest.fixture(scope="module")
def model():
    """Lines at random wavelengths, whose strengths follow the labels, each in its way."""
    rng = np.random.default_rng(3)
    wavelength = np.round(6300.0 + 0.02 * np.arange(2500), 2)
    count = 110
    reference = np.sort(rng.uniform(6300.5, 6349.5, count))
    ln_area = np.log(0.1) + rng.normal(-1.2, 1.0, count)
    slopes = np.stack([rng.normal(-0.5, 0.5, count), rng.normal(0.0, 0.15, count)])
    nodes = np.stack(np.meshgrid(*AXES.values(), indexing="ij"), -1).reshape(-1, 3)
    t, g, z = (nodes - [5750.0, 4.5, 0.0]).T / np.array([[750.0], [0.5], [0.5]])
    area = ln_area + t[:, None] * slopes[0] + g[:, None] * slopes[1] + 0.9 * z[:, None]
    shape = np.zeros((len(nodes), count, 3))
    shape[..., 1:] = np.log([0.055, 0.015])
    base = np.zeros((count, 4), np.float32)
    lines = LineGrid(reference, base, area.astype(np.float32), shape.astype(np.float32))
    meta = {"library": "toy", "code": "test"}
    return Model(wavelength, AXES, lines, NODEWISE.replace(residual=None), meta)


@pytest.fixture(scope="module")
def changes(model):
    """Of ln area, wavelength (Å) and ln width."""
    size = np.array([0.25, 0.3, 0.05])
    found = np.random.default_rng(5).normal(size=(len(model.reference), 3)) * size
    found[:, 1] *= model.reference / SPEED_OF_LIGHT
    return found


def star_of(model, labels, seed, name):
    """A star of labels, observed with noise, and labels of the literature with errors."""
    rng = np.random.default_rng(seed)
    truth = dict(zip(AXES, labels, strict=True))
    flux = np.asarray(model.flux(**truth, rv=5.0, resolution=RESOLUTION), np.float64)
    spectrum = Spectrum(
        model.wavelength,
        flux + rng.normal(size=flux.size) / SNR,
        error=np.full(flux.size, 1.0 / SNR),
        resolution=RESOLUTION,
    )
    known = {n: (v + rng.normal() * ERRORS[n], ERRORS[n]) for n, v in truth.items()}
    return KnownStar(name, spectrum, known, {"vsini": 0.0, "vmac": 0.0})


def stars_of(model, labels=STARS):
    return [star_of(model, each, 10 + k, f"star {k}") for k, each in enumerate(labels)]


@pytest.fixture(scope="module")
def wrong(model):
    """The model without some of its lines, and with others."""
    lines = model.line_grid
    depth = model.lines(teff=5750.0, logg=4.5, feh=0.0).central_depth("sum")
    copied = np.flatnonzero((depth > 0.1) & (depth < 0.4))[: SPURIOUS.size]
    spurious = replace(lines.take(copied), reference=SPURIOUS)
    kept = lines.take(np.setdiff1d(np.arange(len(lines)), LOST))
    return replace(model, line_grid=joined([kept, spurious]))


@pytest.fixture(scope="module")
def calibrated(model, changes, wrong):
    with pytest.MonkeyPatch.context() as patch:  # half of the lines lie in the gamma band of O2
        patch.setattr(missing_lines, "in_bands", lambda at: np.zeros(at.size, bool))
        return calibrate(stars_of(with_changes(model, changes)), wrong)


def of_true_lines(calibrated, model, values):
    """Values of the lines of the calibrated model for those of the true one, NaN for others."""
    found = np.full((len(model.reference), *values.shape[1:]), np.nan)
    same = np.isin(model.reference, calibrated.model.reference)
    found[same] = values[np.isin(calibrated.model.reference, model.reference)]
    return found


@pytest.mark.long
def test_lost_lines_are_added(calibrated, model, changes):
    """With the right centres, strengths and course over the labels, and no others."""
    full = calibrated.proposed
    added = full.calibration.added
    assert added.sum() == LOST.size
    truth = with_changes(model, changes)
    for labels in ((5300.0, 4.6, 0.1), (6200.0, 4.3, -0.2)):
        values = dict(zip(AXES, labels, strict=True))
        got, wanted = full.lines(**values), truth.lines(**values)
        np.testing.assert_allclose(got.center[added], wanted.center[LOST], atol=0.01)
        np.testing.assert_allclose(got.ln_area[added], wanted.ln_area[LOST], atol=0.25)


@pytest.mark.long
def test_spurious_lines_are_weakened(calibrated):
    spurious = np.isin(calibrated.model.reference, SPURIOUS)
    assert (calibrated.changes[spurious, 0] < -2.0).all()


@pytest.mark.long
def test_changes_of_lines_are_found(calibrated, model, changes):
    depth = model.lines(teff=5750.0, logg=4.5, feh=0.0).central_depth("sum")
    apart = np.minimum(
        *(np.abs(np.diff(model.reference, prepend=0.0, append=1e5)[i:][:110]) for i in (0, 1))
    )
    deep = (depth > 0.1) & (apart > 0.15) & ~np.isin(np.arange(110), LOST)
    assert deep.sum() > 30
    all_found = of_true_lines(calibrated, model, calibrated.changes)
    wanted = changes.copy()
    wanted[:, 1] *= SPEED_OF_LIGHT / model.reference
    for column, least in enumerate((0.9, 0.9, 0.6)):
        got = all_found[deep, column] / calibrated.best.times
        assert np.corrcoef(wanted[deep, column], got)[0, 1] > least


@pytest.mark.long
def test_errors_of_changes_are_true(calibrated, model, changes):
    """Most lines lie within their errors of the truth, and the errors are no larger than that.

    Errors that all lines have in common are those of the labels.
    """
    wanted = changes.copy()
    wanted[:, 1] *= SPEED_OF_LIGHT / model.reference
    depth = model.lines(teff=5750.0, logg=4.5, feh=0.0).central_depth("sum")
    changed, sigma, stars = (
        of_true_lines(calibrated, model, values)
        for values in (calibrated.changes, calibrated.sigma, calibrated.stars)
    )
    deep = (depth > 0.1) & (stars > 0)
    error = (changed - wanted)[deep, 0]
    common = np.stack([np.ones(error.size), depth[deep]], axis=1)
    error -= common @ np.linalg.lstsq(common, error, rcond=None)[0]
    pulls = error / sigma[deep, 0]
    assert 0.6 < np.median(np.abs(pulls)) / 0.6745 < 1.6
    assert stars[deep].max() == len(STARS)


@pytest.mark.long
def test_stars_left_out_gain(calibrated):
    before, after = calibrated.trials[0], calibrated.best
    assert after.times >= 0.5
    assert after.misfit < 0.6 * before.misfit
    assert after.label_error < min(0.9 * before.label_error, 0.25)


@pytest.mark.long
def test_a_right_model_stays(model):
    """Stars of the model itself change no line by much."""
    found = calibrate(stars_of(model, STARS[:3]), model)
    assert np.sqrt(np.mean(found.changes[found.stars > 0, 0] ** 2)) < 0.05


@pytest.fixture(scope="module")
def of_few(model, changes):
    """Two spectra of one star and one of another: [Fe/H] is unknown, a label is known that the
    model does not have, and widths are not to change."""
    truth = with_changes(model, changes)
    stars = []
    for seed, name, labels in ((20, "a", STARS[0]), (21, "a", STARS[0]), (22, "b", STARS[1])):
        known = {"teff": (labels[0], ERRORS["teff"]), "logg": (labels[1], ERRORS["logg"])}
        stars.append(replace(star_of(truth, labels, seed, name), labels=known | ALPHA))
    return calibrate(stars, model, scales=Scales(width=0.0))


ALPHA = {"alpha": (0.1, 0.05)}


@pytest.mark.long
def test_spectra_of_one_star_end_at_the_same_labels(of_few):
    """Also those that were unknown, and were fitted to each spectrum at first."""
    first, second, other = of_few.proposal.fit.ensemble.observations
    assert first.labels() == second.labels()
    assert first.labels()["feh"] != other.labels()["feh"]
    assert first.parameters()["rv"] != second.parameters()["rv"]


@pytest.mark.long
def test_lines_are_described_at_labels_of_the_model(of_few, model):
    labels = of_few.reference_labels
    assert tuple(labels) == model.label_names
    assert labels["teff"] == of_few.trials[0].spectra[0].literature["teff"][0]


@pytest.mark.long
def test_quantities_without_errors_do_not_change(of_few):
    strength, shift, width = np.abs(of_few.proposal.fit.changes()[:, :3]).max(axis=0)
    assert width < 1e-9
    assert min(strength, shift) > 0.1


def test_of_equal_label_errors_the_smaller_residuals_count():
    trials = tuple(
        CalibrationTrial(times, (LeftOut("a", {"teff": teff}, {"teff": (5700.0, 0.0)}, misfit),))
        for times, teff, misfit in ((0.0, 5770.0, 1.0), (0.5, 5750.0, 0.8), (1.0, 5750.01, 0.4))
    )
    assert best_of(trials).times == 1.0


@pytest.mark.long
@pytest.mark.parametrize(
    ("offsets", "misfits", "chosen"),
    [
        ((70.0, 68.0), (1.0, 0.8), 0.0),  # better by 3 %
        ((70.0, 60.0), (1.0, 0.8), 0.5),  # better by 14 %
        ((70.0, 60.0), (1.0, 0.95), 0.0),  # hardly fits better
        ((70.0, 60.0), (1.0, 1.1), 0.0),  # fits worse
    ],
)
def test_lines_change_where_labels_of_stars_left_out_gain(offsets, misfits, chosen):
    trials = tuple(
        CalibrationTrial(
            times, (LeftOut("a", {"teff": 5700.0 + offset}, {"teff": (5700.0, 0.0)}, misfit),)
        )
        for times, offset, misfit in zip((0.0, 0.5), offsets, misfits, strict=True)
    )
    assert best_of(trials).times == chosen
    gain = 1.0 - offsets[1] / offsets[0] if misfits[1] < 0.9 else 0.0
    assert gain_of(trials) == pytest.approx(gain)


def test_a_calibrated_model_is_a_model(model, changes, tmp_path):
    """Saved, opened, cut, tabulated, and without its changes and added lines."""
    changes, added = changes.astype(np.float32), np.isin(np.arange(110), LOST)
    stars = np.full(110, 3, np.int32)
    sigma, area = np.full((110, 3), 0.1, np.float32), np.full_like(model.line_grid.area, 0.01)
    known = LineCalibration(changes, sigma, stars, added=added, area=area)
    calibrated = replace(model, line_grid=known.applied(model.line_grid), calibration=known)
    save_model(calibrated, tmp_path / "calibrated.zip")
    opened = load_model(tmp_path / "calibrated.zip")
    labels = {"teff": 5900.0, "logg": 4.4, "feh": 0.1}
    np.testing.assert_allclose(opened.flux(**labels), calibrated.flux(**labels), atol=1e-5)
    np.testing.assert_array_equal(opened.calibration.stars, stars)
    np.testing.assert_array_equal(opened.calibration.added, added)
    before = load_model(tmp_path / "calibrated.zip", calibrated=False)
    assert before.calibration is None
    library = replace(model, line_grid=model.line_grid.take(~added))
    np.testing.assert_array_equal(before.reference, library.reference)
    np.testing.assert_allclose(before.flux(**labels), library.flux(**labels), atol=1e-5)
    table = corrections_table(opened, labels)
    assert len(table) > 30
    assert table["added"].sum() == LOST.size
    section = opened.part(6310.0, 6315.0)
    assert len(section.calibration.added) == len(section.reference)


@pytest.mark.long
def test_the_command_calibrates(model, changes, tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    rows = ["file,star,medium," + ",".join(f"{n},{n}_err" for n in AXES) + ",vsini,vmac"]
    for k, star in enumerate(stars_of(with_changes(model, changes))[:2]):
        write_spectrum(star.spectrum, tmp_path / f"{k}.npz")
        values = ",".join(f"{value},{error}" for value, error in star.labels.values())
        rows.append(f"{k}.npz,{star.star},,{values},0,0")
    (tmp_path / "stars.csv").write_text("\n".join(rows))
    save_model(model, tmp_path / "model.zip")
    paths = ("stars.csv", "--model", "model.zip", "-o", "new.zip", "--table", "lines.ecsv")
    status, out, _ = run("calibrate", *paths)
    assert status == 0
    assert "star 0" in out
    opened = load_model("new.zip")
    assert opened.mismatch is not None
    assert opened.calibration.changes.any()
    assert next(one["star"] for one in opened.meta["calibration"]["stars"]) == "star 0"


def test_a_table_of_stars_is_read(tmp_path):
    path = tmp_path / "stars.csv"
    path.write_text("file,teff,teff_err,logg,logg_err,feh,feh_err,vsini\na.npz,5772,3,,,0,0.02,1.6")
    (star,) = read_known_stars(path, ("teff", "logg", "feh", "alpha"))
    assert star.star == "a.npz"
    assert star.labels == {"teff": (5772.0, 3.0), "feh": (0.0, 0.02)}
    assert star.fixed == {"vsini": 1.6}
    assert star.spectrum == tmp_path / "a.npz"


def test_units_of_a_table_of_stars_count(tmp_path):
    columns = {"file": ["a.npz"], "teff": [5.8] * units.kK, "teff_err": [5.0] * units.K}
    columns |= {"logg": [4.4], "logg_err": [0.1], "feh": [0.0], "feh_err": [0.1]}
    Table(columns | {"vsini": [1600.0] * units.m / units.s}).write(tmp_path / "stars.ecsv")
    (star,) = read_known_stars(tmp_path / "stars.ecsv", ("teff", "logg", "feh"))
    assert star.labels["teff"] == pytest.approx((5800.0, 5.0))
    assert star.fixed == pytest.approx({"vsini": 1.6})


def test_spectra_of_one_star_have_the_same_labels(model):
    one, other = (KnownStar("Sun", "sun.npz", {"teff": (t, 1.0)}) for t in (5772.0, 5727.0))
    with pytest.raises(InputError, match="Sun with teff 5772 ± 1 and with teff 5727 ± 1"):
        calibrate([one, other], model)


def test_every_reason_names_its_spectrum(model):
    stars = [replace(one, fixed={"vsini": -3.0}) for one in stars_of(model)[:2]]
    with pytest.raises(InputError, match=r"star 0: got vsini=-3.*star 1: got vsini=-3"):
        calibrate(stars, model)


def test_spectra_in_memory_of_one_star_each_have_a_reason(model):
    (star,) = stars_of(model)[:1]
    stars = [replace(star, fixed={"vsini": -value}) for value in (3.0, 4.0)]
    with pytest.raises(InputError, match=r"star 0 \(1\): got vsini=-3.*star 0 \(2\): got vsini=-4"):
        calibrate(stars, model)
    (kept,) = _star_list(stars, {"star 0 (2)": "got vsini=-4"})
    assert kept["vsini"] == -3.0


def test_a_medium_is_asked_for_in_the_table(tmp_path):
    path = tmp_path / "star.csv"
    path.write_text("wavelength,flux\n5200,1\n5201,1\n")
    asked = r"star.csv states no medium .*; give it in the column medium of the table of stars \("
    with pytest.raises(InputError, match=asked):
        KnownStar("a star", path, {}).read()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,teff,teff_err\na.npz,5772,3", "no column logg"),
        ("file,teff,teff_err,logg,logg_err,feh,feh_err\na.npz,5772,0,4,1,0,1", "positive teff_err"),
        (
            "file,teff,teff_err,logg,logg_err,feh,feh_err\na.npz,hot,1,4,1,0,1",
            "stars.csv, row 1: got teff hot, expected a number",
        ),
        ("file,teff,teff_err,logg,logg_err,feh,feh_err\n,1,1,4,1,0,1", "row 1: got no file"),
        ("file,teff,teff_err,logg,logg_err,feh,feh_err", "no star"),
        ("", "no column file"),
    ],
)
def test_tables_of_no_use_are_refused(tmp_path, text, message):
    path = tmp_path / "stars.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_known_stars(path, ("teff", "logg", "feh"))


def test_block_matrices_solve_as_full_ones():
    rng = np.random.default_rng(1)
    sizes = np.array([2, 3, 0, 4, 2])
    ends = np.cumsum([0, *sizes])
    full = np.zeros((11, 11))
    for j, (a, _b) in enumerate(itertools.pairwise(ends)):
        rows = rng.normal(size=(6, int(ends[min(j + 2, 5)]) - a))
        full[a : ends[min(j + 2, 5)], a : ends[min(j + 2, 5)]] += rows.T @ rows
    blocks = [full[a:b, a:b] for a, b in itertools.pairwise(ends)]
    upper = [full[ends[j] : ends[j + 1], ends[j + 1] : ends[j + 2]] for j in range(4)]
    matrix = BlockMatrix(tuple(blocks), tuple(upper)).with_ridge(np.ones(11))
    full += np.eye(11)
    rows = rng.normal(size=(11, 2))
    factor = matrix.factor()
    np.testing.assert_allclose(factor.solve(rows), np.linalg.solve(full, rows))
    np.testing.assert_allclose(factor.inverse_diagonal(), np.diag(np.linalg.inv(full)))
    assert factor.ln_determinant == pytest.approx(np.linalg.slogdet(full)[1])


def test_components_change_together():
    groups = groups_of(np.array([1, 4]), np.array([1, 1, 2, 1, 4]))
    np.testing.assert_array_equal(groups.members, [1, 0, 3, 4])
    np.testing.assert_array_equal(groups.number, [0, 0, 0, 1])
    np.testing.assert_array_equal(groups.starts(slice(0, 2)), [0, 3])


def test_windows_have_the_lines_within_half_a_cell():
    reference = np.linspace(6300.0, 6320.0, 41)
    cells = cells_of(np.array([6300.0, 6320.0]), reference)
    pixels = np.linspace(6300.0, 6320.0, 500)
    for pixel, window in zip(pixels, cells.window_of(pixels), strict=True):
        near = reference[cells.lines(window)]
        missing = np.setdiff1d(reference, near)
        assert np.abs(missing - pixel).min(initial=9.0) >= 2.5


@pytest.mark.parametrize(("true", "low", "high"), [(0.0, None, None), (0.15, 0.1, 0.3)])
def test_slopes_over_teff_are_those_that_the_stars_ask_for(true, low, high):
    rng = np.random.default_rng(4)
    count, positions = 120, np.array([-0.7, -0.3, 0.0, 0.1, 0.4, 0.7])
    offset, slope = rng.normal(0.0, 0.3, count), rng.normal(0.0, true, count)
    strength = np.arange(3 * count) % 3 == 0
    parts = []
    for x in positions:
        measured = np.zeros(3 * count)
        measured[strength] = offset + slope * x + rng.normal(0.0, 0.05, count)
        weight = np.where(strength, 0.05**-2.0, 0.0)
        groups = np.split(weight, 12)
        lines = BlockMatrix(
            tuple(np.diag(group) for group in groups), (np.zeros((30, 30)),) * (len(groups) - 1)
        )
        nothing = np.zeros((3 * count, 1)), np.zeros((1, 1))
        parts.append(Information(lines, *nothing, weight * measured, np.zeros(1)))
    dense = Dense((np.zeros(1, int),) * positions.size, np.ones(1), np.zeros(1))
    prior = first_prior(np.full(count, 0.1), Scales(), np.zeros(count, bool))
    found = asked_slopes(tuple(parts), positions, prior, dense)
    if not true:
        assert found is None
    else:
        learnt, estimate = found
        assert low < learnt.scale[0, 3] < high
        assert np.corrcoef(estimate.lines[3::4], slope)[0, 1] > 0.9


def test_few_stars_teach_no_slopes():
    """Three, after one is left out, are not enough for a strength, a slope, and a scatter."""
    stars = [SimpleNamespace(labels=lambda k=k: {"teff": 5000.0 + 500.0 * k}) for k in range(5)]
    for count, known in ((2, False), (4, False), (5, True)):
        ensemble = SimpleNamespace(observations=stars[:count], stars=tuple("abcde"[:count]))
        assert (teff_of(ensemble) is not None) is known


def test_slopes_are_in_the_model(model):
    """Within the temperatures of the stars, and nowhere beyond."""
    slopes = np.full(110, 0.2)
    position = Teff(np.array([5000.0, 6000.0])).position(label_mesh(model, {}, model.axes)[:, 0])
    area = slope_coefficients(model, slopes, position)
    zero = np.zeros((110, 3), np.float32)
    known = LineCalibration(zero, zero, np.zeros(110, np.int32), area=area)
    sloped = replace(model, line_grid=known.applied(model.line_grid), calibration=known)
    for teff, change in ((5000.0, -0.1), (5500.0, 0.0), (6000.0, 0.1), (6500.0, 0.1)):
        labels = {"teff": teff, "logg": 4.5, "feh": 0.0}
        found = sloped.lines(**labels).ln_area - model.lines(**labels).ln_area
        np.testing.assert_allclose(found, change, atol=1e-4)
    np.testing.assert_allclose(
        sloped.uncalibrated().line_grid.area, model.line_grid.area, atol=1e-5
    )


@pytest.mark.parametrize(
    ("star", "found"),
    [(0.0, [5100.0]), (-0.2, []), (-0.25, [])],
    ids=["no star has it", "a line of the stars", "a line that remains too weak"],
)
def test_lines_deeper_than_in_any_star_are_found(star, found):
    """A line of depth 0.2 that the library does not have, beside two stars of noise; one of them
    may have it too."""
    rng = np.random.default_rng(8)
    wavelength = np.arange(5090.0, 5110.0, 0.03)
    line = 0.2 * np.exp(-0.5 * ((wavelength - 5100.0) / 0.06) ** 2)
    observation = SimpleNamespace(rest_wavelength=lambda: wavelength)
    noise = rng.normal(size=(2, wavelength.size)) * 0.004
    level = np.ones_like(wavelength)
    library = [
        Residual(observation, level, noise[0] + star / 0.2 * line),
        Residual(observation, level, noise[1]),
    ]
    calibrated = [replace(one, left=one.left + line) for one in library]
    np.testing.assert_allclose(too_deep(library, calibrated), found, atol=0.03)


def test_the_mismatch_in_a_gap_of_a_spectrum_is_not_known():
    """As beyond its ends. A step that grows over the spectrum is no gap, nor is a masked pixel."""
    wavelength = np.concatenate([np.arange(3000.0, 5000.0, 0.5), np.arange(7000.0, 9000.0, 0.5)])
    wavelength = np.delete(wavelength, 700)
    observation = SimpleNamespace(rest_wavelength=lambda: wavelength, noise=0.01)
    level = np.ones_like(wavelength)
    at = np.arange(2900.2, 9100.0)
    squares = Residual(observation, level, 0.05 * level).squares(np.log(at))
    known = np.isfinite(squares)
    in_arms = ((at >= 3000.0) & (at < 5000.0)) | ((at >= 7000.0) & (at < 9000.0))
    np.testing.assert_array_equal(known, in_arms)
    np.testing.assert_allclose(squares[known], 0.05**2 - 0.01**2)


def test_areas_beyond_the_spectra_of_a_star_are_not_known():
    """Even of a star with a spectrum of a tenth of the wavelengths of others."""
    rng = np.random.default_rng(2)
    weight = np.zeros((2, 4000))
    weight[0], weight[1, 1000:1400] = 1e4, 1e4 * rng.uniform(0.5, 1.0, 400)
    profile = np.exp(-0.5 * (np.arange(-20, 21) / 5.0) ** 2)
    square = np.stack([fftconvolve(row, profile**2, mode="same") for row in weight])
    known = missing_lines._in_spectra(square)
    assert known[0].all()
    assert known[1, 1000:1400].all()
    assert not known[1, :980].any()
    assert not known[1, 1420:].any()


@pytest.mark.parametrize("errors", [True, False])
def test_pixels_far_narrower_than_lines_are_averaged(errors):
    """With errors of a mean; a mean with a masked pixel is masked, and what is left over goes."""
    wavelength, mask = 5000.0 + 0.01 * np.arange(1003), np.zeros(1003, bool)
    mask[57] = True
    flux = 1.0 + 0.1 * (wavelength - 5000.0)
    error = np.full(1003, 0.02) if errors else None
    found = rebinned(Spectrum(wavelength, flux, error=error, mask=mask), 0.36)
    assert len(found) == 100
    np.testing.assert_allclose(
        found.flux[found.good], 1.0 + 0.1 * (found.wavelength - 5000.0)[found.good]
    )
    np.testing.assert_array_equal(np.flatnonzero(found.mask), [5])
    if errors:
        np.testing.assert_allclose(found.error[found.good], 0.02 / np.sqrt(10.0))
    else:
        assert found.error is None


def test_a_mean_over_a_gap_is_masked():
    wavelength = np.concatenate([5000.0 + 0.01 * np.arange(505), 5100.0 + 0.01 * np.arange(495)])
    found = rebinned(Spectrum(wavelength, np.ones(1000)), 0.36)
    np.testing.assert_array_equal(np.flatnonzero(found.mask), [50])


def test_pixels_as_wide_as_lines_need_stay():
    star = Spectrum(5000.0 + 0.06 * np.arange(100), np.ones(100))
    assert rebinned(star, 0.35) is star
    orders = replace(star, wavelength=5000.0 + 0.01 * np.arange(100), order=np.arange(100) // 50)
    assert rebinned(orders, 0.35) is orders


def test_lines_of_one_star_are_not_added():
    """They may be telluric; without one of two stars, the other is alone."""
    area = np.array([[0.01, 0.01, 0.01], [0.01, 0.0, 0.01], [0.01, 0.0, 0.0]])
    center, error = np.array([6300.0, 6301.0, 6302.0]), np.full((3, 3), 0.001)
    found = MissingLines(("a", "b", "c"), np.zeros((3, 3)), center, area, error)
    np.testing.assert_array_equal(found.shown(), [True, False, True])
    np.testing.assert_array_equal(found.shown("a"), [True, False, False])


def test_calibrations_are_cut_with_their_lines():
    known = LineCalibration(np.ones((3, 3), np.float32), np.ones((3, 3), np.float32), np.arange(3))
    np.testing.assert_array_equal(known.take(np.array([0, 2])).stars, [0, 2])
    assert known.base.shape == (3, 4)


@pytest.mark.long
def test_telluric_bands_have_no_lines_to_add(model, wrong):
    """Two of the lines that are missing lie between 6278 and 6325 Å."""
    found = calibrate(stars_of(model), wrong).proposed
    added = found.reference[found.calibration.added]
    assert added.size
    assert (added > 6325.0).all()


def test_a_change_ends_near_its_linearisation():
    start = np.array([[0.0, 0.0, 0.0], [1.0, -2.0, 0.1]])
    found = _nearby(np.array([[21.7, 9.0, -3.0], [1.5, -2.5, 0.2]]), start.ravel())
    np.testing.assert_array_equal(found, [[1.0, 3.0, -0.5], [1.5, -2.5, 0.2]])
