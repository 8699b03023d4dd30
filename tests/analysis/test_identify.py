"""Identification: the physics of one layer by second roads, and lines of known transitions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy_models import NODEWISE

from blase3d.analysis.identify import UNIDENTIFIED, available, course_of, identify, transitions
from blase3d.analysis.identify.layer import (
    _fractions,
    _ionisation,
    line_areas,
    line_widths,
    make_layers,
)
from blase3d.analysis.identify.transitions import SYMBOLS, Atoms, Transitions, load_atoms
from blase3d.errors import InputError, LabelError, MissingExtra
from blase3d.libraries.grid import grid_of
from blase3d.model.line_grid import LineGrid
from blase3d.model.model import Model
from blase3d.runtime.units import BOLTZMANN, PLANCK, air_to_vacuum

SUN = {"teff": 5772.0, "logg": 4.44, "feh": 0.0}
AXES = {
    "teff": np.array([4600.0, 5200.0, 5772.0, 6400.0, 7000.0]),
    "logg": np.array([3.6, 4.44, 5.0]),
    "feh": np.array([-0.5, 0.0, 0.5]),
}
IONISATION = {"H": 13.598, "Fe": 7.9, "Ti": 6.83, "Si": 8.15, "Ca": 6.11, "Mg": 7.65, "Na": 5.14}
SECOND = {"Fe": 16.2, "Ti": 13.6, "Si": 16.35, "Ca": 11.87, "Mg": 15.04, "Na": 47.3}
ABUNDANCE = {
    **{"H": 1.0, "He": 0.085, "Fe": 3.2e-5, "Ti": 8.9e-8, "Si": 3.2e-5},
    **{"Ca": 2.2e-6, "Mg": 4e-5, "Na": 1.7e-6},
}
PARTITION = {("H", 1): 2.0, ("H", 2): 1.0, ("Fe", 1): 27.0, ("Fe", 2): 43.0, ("Ti", 1): 30.0}
ROWS = [  # vacuum Å, ion, lower level in eV, log gf
    (8610.0, "Fe", 1, 2.85, -1.9),
    (8614.0, "Fe", 1, 5.0, -0.5),
    (8618.0, "Ti", 1, 0.85, -1.2),
    (8622.0, "Si", 1, 6.2, -1.2),
    (8626.0, "Ca", 2, 1.7, -1.3),  # saturated
    (8640.0, "H", 1, 12.09, -1.4),
    (8648.0, "Fe", 1, 4.4, -1.2),
    (8652.0, "Na", 1, 3.2, -1.0),
]


def column(values, default):
    return np.array([values.get(symbol, default) for symbol in SYMBOLS])


def atoms_of(rows):
    """A list of so many transitions, with rounded constants of eight elements."""
    wavelength, symbols, stage, lower, log_gf = (np.array(part) for part in zip(*rows, strict=True))
    element = np.array([SYMBOLS.index(symbol) + 1 for symbol in symbols])
    upper = lower + 12398.4 / wavelength
    quantum = np.where((element == 1)[:, None], [3.0, 14.0], 0.0)
    known = np.full(len(rows), 0.2)
    lines = Transitions(wavelength, element, stage, lower, upper, log_gf, known, quantum)
    levels = np.array(
        [(SYMBOLS.index(name) + 1, ion, 0.0, weight) for (name, ion), weight in PARTITION.items()]
    )
    energies = [column(IONISATION, 12.0), column(SECOND, np.inf), np.full(len(SYMBOLS), np.inf)]
    return Atoms(lines, levels, np.stack(energies, axis=1), column(ABUNDANCE, 0.0))


def model_of_atoms(rows, extra=(), *, merged=False):
    """A model with a line for each of `rows` as the layer has it, wavelengths a little off, and
    `extra` lines (Å, ln area, slope of ln area by ln Teff); `merged`: the last two are one."""
    rng = np.random.default_rng(3)
    points = np.stack(np.meshgrid(*AXES.values(), indexing="ij"), axis=-1).reshape(-1, 3)
    labels = dict(zip(AXES, points.T, strict=True))
    atoms = atoms_of(rows)
    layers = make_layers(atoms, labels)
    ln_area = line_areas(layers, atoms.transitions)
    sigma, gamma = line_widths(layers, atoms.transitions, atoms.ionisation)
    reference = atoms.transitions.wavelength
    if merged:
        ln_area[:, -2] = np.logaddexp(ln_area[:, -2], ln_area[:, -1])
        ln_area, sigma, gamma, reference = (x[..., :-1] for x in (ln_area, sigma, gamma, reference))
    own = rng.normal(0.0, 0.2, len(reference))  # oscillator strengths of the list are not exact
    reference = reference + rng.normal(0.0, 0.005, len(reference))
    params = np.stack(
        [np.zeros_like(ln_area), np.minimum(ln_area + own, -0.5), np.log(sigma), np.log(gamma)],
        axis=-1,
    )
    more = np.zeros((len(points), len(extra), 4))
    for k, (_, area, slope) in enumerate(extra):
        more[:, k, 1] = area + slope * np.log(labels["teff"] / SUN["teff"])
        more[:, k, 2:] = np.log([0.035, 0.002])
    reference = np.concatenate([reference, [line[0] for line in extra]])
    params = np.concatenate([params, more], axis=1).astype(np.float32)
    order = np.argsort(reference)
    params = params[:, order]
    base = np.zeros(params.shape[1:], np.float32)
    surface = LineGrid(reference[order], base, params[:, :, 1], params[:, :, [0, 2, 3]])
    wavelength = np.arange(8600.0, 8660.0, 0.02)
    recipe = NODEWISE.replace(composition="opacity", residual=None)
    return Model(wavelength, AXES, surface, recipe)


def as_strong(row, other):
    """A transition with the log gf that makes it as strong in the Sun as another."""
    both = atoms_of([row, other])
    layers = make_layers(both, {name: np.array([value]) for name, value in SUN.items()})
    strength = line_areas(layers, both.transitions)[0]
    return (*row[:4], row[4] + (strength[1] - strength[0]) / np.log(10.0))


def near(model, wavelength):
    return model.reference[np.abs(model.reference - wavelength).argmin()]


def test_ionisation_is_that_of_saha_in_other_units():
    """n₁nₑ/n₀ = 2 (2π mₑ kT/h²)^1.5 U₁/U₀ e^(−I/kT)."""
    temperature, pressure = np.array([6000.0, 10000.0]), np.array([10.0, 300.0])
    energy = np.full((len(SYMBOLS), 3), 13.598)
    partition = np.ones((2, len(SYMBOLS), 3))
    partition[..., 0] = 2.0
    found = _fractions(_ionisation(temperature, energy, partition), pressure)[:, 0]
    electrons = 0.1 * pressure / (BOLTZMANN * temperature)  # SI
    states = (2.0 * np.pi * 9.1093837e-31 * BOLTZMANN * temperature / PLANCK**2) ** 1.5
    decay = np.exp(-13.598 * 1.602176634e-19 / (BOLTZMANN * temperature))
    np.testing.assert_allclose(found[:, 1] / found[:, 0], states * decay / electrons, rtol=1e-3)


def test_the_layer_of_the_sun():
    """T = 5,300 K, Pₑ near 6 and P near 7e4 dyn/cm²: Gray 2005, table 9.2, at τ = 0.3 to 0.5."""
    layers = make_layers(atoms_of(ROWS), {name: np.array([v]) for name, v in SUN.items()})
    assert 3.0 < layers.electron_pressure[0] < 12.0
    assert 4e4 < layers.gas_pressure[0] < 1.2e5


def test_areas_scale_as_they_must():
    atoms = atoms_of(ROWS)
    labels = {"teff": np.array([5772.0]), "logg": np.array([4.44]), "feh": np.array([0.0])}
    layers = make_layers(atoms, labels)
    lines = atoms.transitions
    usual = line_areas(layers, lines)
    stronger = line_areas(layers, replace(lines, log_gf=lines.log_gf + 0.3))
    higher = line_areas(layers, replace(lines, lower=lines.lower + 1.0))
    boltzmann = 1.602176634e-19 / (BOLTZMANN * layers.temperature[0])
    np.testing.assert_allclose(stronger - usual, 0.3 * np.log(10.0), rtol=1e-9)
    np.testing.assert_allclose(usual - higher, boltzmann, rtol=1e-9)


def test_known_transitions_are_found():
    model = model_of_atoms(ROWS)
    found = identify(model, SUN, [near(model, row[0]) for row in ROWS], atoms=atoms_of(ROWS))
    for one, row in zip(found, ROWS, strict=True):
        assert one.best == f"{row[1]} {'I' * row[2]}"
        assert abs(one.candidates[0].wavelength - row[0]) < 1e-6
        assert sum(candidate.odds for candidate in one.candidates) == pytest.approx(1.0)


def test_a_blend_is_said_to_be_one():
    iron = (8632.0, "Fe", 1, 4.6, -0.9)
    silicon = as_strong((8632.02, "Si", 1, 5.9, 0.0), iron)
    model = model_of_atoms([*ROWS, iron, silicon], merged=True)
    atoms = atoms_of([*ROWS, iron, silicon])
    (one,) = identify(model, SUN, [near(model, 8632.01)], atoms=atoms)
    assert one.blend
    assert one.candidates[0].species in ("Fe I + Si I", "Si I + Fe I")
    assert "blend" in one.summary


def test_what_is_in_no_list_is_unidentified():
    """A line far from all, and one right on a transition that should be far weaker."""
    weak = (8656.0, "Fe", 1, 5.0, -4.5)
    model = model_of_atoms(ROWS, [(8636.0, -3.0, -6.0), (8656.0, -2.5, -6.0)])
    places = [near(model, 8636.0), near(model, 8656.0)]
    for one in identify(model, SUN, places, atoms=atoms_of([*ROWS, weak])):
        assert one.best == UNIDENTIFIED
        assert one.candidates[-1].odds > 0.9


def test_the_course_over_the_labels_tells_two_at_one_place_apart():
    """Equally strong in the Sun; one fades with Teff, as neutral titanium does, and one grows."""
    titanium, silicon = (8656.0, "Ti", 1, 0.85, -1.2), (8656.0, "Si", 1, 6.2, -1.2)
    for true, false in ((titanium, silicon), (silicon, titanium)):
        alike = as_strong(false, true)
        model = model_of_atoms([*ROWS, true])
        atoms = atoms_of([*ROWS, alike, true])
        (one,) = identify(model, SUN, [near(model, 8656.0)], atoms=atoms)
        odds = one.species
        wrong = f"{false[1]} I"
        assert odds[f"{true[1]} I"] > 2.0 * odds.get(wrong, 0.0)


def test_the_course_of_a_line_is_that_of_its_transition():
    """Relative to the labels, for weak lines as that of their areas; unknown for what is in no
    list."""
    weak = (8656.0, "Fe", 1, 4.4, -2.5)
    model, atoms = model_of_atoms([*ROWS, weak], [(8636.0, -3.0, -6.0)]), atoms_of([*ROWS, weak])
    places = [near(model, 8656.0), near(model, 8636.0)]
    iron, unlisted = identify(model, SUN, places, atoms=atoms)
    nodes = {"teff": np.array([5200.0, 5772.0, 6400.0]), "logg": np.full(3, 4.44)}
    nodes |= {"feh": np.zeros(3)}
    found = course_of(iron, SUN, nodes, atoms=atoms)
    area = [
        model.lines(**dict(zip(nodes, values, strict=True))).ln_area[model.reference == places[0]]
        for values in zip(*nodes.values(), strict=True)
    ]
    assert found[1] == 0.0
    np.testing.assert_allclose(found, np.concatenate(area) - area[1], atol=0.1)
    assert np.ptp(found) > 0.5
    assert course_of(unlisted, SUN, nodes, atoms=atoms) is None


def test_moved_lists_explain_little():
    model = model_of_atoms(ROWS)
    atoms = atoms_of(
        [(row[0] + 1.7, *row[1:]) for row in ROWS if row[1:3] not in (("H", 1), ("Ca", 2))]
    )
    found = identify(model, SUN, atoms=atoms)
    assert sum(one.best != UNIDENTIFIED for one in found) <= 1


def test_a_model_without_temperature_is_refused():
    wavelength = np.arange(8600.0, 8610.0, 0.02)
    grid = grid_of(wavelength, [[0.0], [1.0]], ("age",), np.ones((2, wavelength.size)))
    surface = LineGrid(
        np.array([8605.0]),
        np.zeros((1, 4), np.float32),
        np.zeros((2, 1), np.float32),
        np.zeros((2, 1, 3), np.float32),
    )
    recipe = NODEWISE.replace(residual=None)
    model = Model(wavelength, grid.axes, surface, recipe)
    with pytest.raises(InputError, match="teff"):
        identify(model, {"age": 0.5}, atoms=atoms_of(ROWS))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"teff": 5772.0}, "logg, feh"),
        (SUN | {"teff": 9000.0}, "9000"),
        (SUN | {"age": 1.0}, "age"),
    ],
)
def test_labels_that_the_model_does_not_have_are_refused(labels, message):
    with pytest.raises(LabelError, match=message):
        identify(model_of_atoms(ROWS), labels, atoms=atoms_of(ROWS))


def test_without_the_list_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(transitions, "find_spec", lambda name: None)
    load_atoms.cache_clear()
    with pytest.raises(MissingExtra, match=r"blase3d\[identify\]"):
        load_atoms()


@pytest.mark.skipif(not available(), reason="needs pyemili (extra identify)")
def test_the_list_agrees_with_the_literature():
    """Wavelengths and log gf of NIST, and partition functions of Gray (2005, table D.2)."""
    atoms = load_atoms()
    for air, species, log_gf in (
        (8806.757, "Mg I", -0.14),
        (8662.141, "Ca II", -0.72),
        (8688.624, "Fe I", -1.21),
        (8194.82, "Na I", 0.49),
    ):
        vacuum = float(air_to_vacuum(air))
        lines = atoms.transitions.between(vacuum - 0.02, vacuum + 0.02)
        found = [i for i in range(len(lines)) if lines.species(i) == species]
        assert np.abs(lines.log_gf[found] - log_gf).min() < 0.1
    partition = atoms.partition(np.array([5040.0]))[0]
    for symbol, stage, value in (("Fe", 1, 26.9), ("Fe", 2, 43.0), ("Na", 1, 2.0), ("Ti", 1, 29.5)):
        found = partition[SYMBOLS.index(symbol), stage - 1]
        assert found == pytest.approx(value, rel=0.12)
    hydrogen = atoms.transitions.between(8600.7, 8600.8)  # Paschen 14, 8598.39 in air
    (place,) = np.flatnonzero(hydrogen.element == 1)
    np.testing.assert_allclose(hydrogen.quantum[place], [3.0, 14.0])
