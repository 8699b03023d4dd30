"""State dictionaries of the original: read safely, rendered as it does, imported as clones."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import struct
import tempfile
import zipfile
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blase3d import build
from blase3d.errors import ArchiveError, GridError, InputError
from blase3d.fitting.archive import open_archive
from blase3d.fitting.original.folder import (
    choose_pixels,
    find_states,
    native_wavelength,
    states_grid,
)
from blase3d.fitting.original.importer import STATES, import_states
from blase3d.fitting.original.state_lines import at_shared, match, shared_lines, to_lines
from blase3d.fitting.original.states import (
    UNFITTED,
    State,
    labels_of_state,
    original_flux,
    read_state,
)
from blase3d.fitting.original.torch_zip import read_tensors
from blase3d.spectra.formats import read_spectrum, write_spectrum
from blase3d.spectra.spectrum import Spectrum

ORIGINAL = Path("../shared/data/original").resolve()
REAL = {
    "emulator_T4700g4p5_prom0p01_HPF.pt": (9028, 0.0),
    "sparse_T4100g3p5_prom0p01_HPF.pt": (11759, 9.678),
}


def real_file(name: str) -> Path:
    path = ORIGINAL / name
    if not path.is_file():
        pytest.skip(f"{path} is not here: it is not part of the project")
    return path


# --- a writer of the form, and a world of known lines ------------------------------------------


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value) if abs(value) < 2**31 else b"\x8a\x08" + long(value)


def long(value: int) -> bytes:
    return value.to_bytes(8, "little", signed=True)


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def storage(key: str = "0", kind: str = "DoubleStorage", count: int = 3) -> bytes:
    parts = [text("storage"), name("torch", kind), text(key), text("cuda:0"), number(count)]
    return b"(" + b"".join(parts) + b"tQ"


def counts(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def tensor(
    where: bytes | None = None, offset: int = 0, size: tuple = (3,), stride: tuple = (1,)
) -> bytes:
    parts = [storage() if where is None else where, number(offset), counts(size), counts(stride)]
    hooks = name("collections", "OrderedDict") + b")R"
    rebuild = name("torch._utils", "_rebuild_tensor_v2")
    return rebuild + b"(" + b"".join(parts) + b"\x89" + hooks + b"tR"


def program(items: dict[str, bytes]) -> bytes:
    """The pickle of a state dictionary, with the attribute that modules leave on it."""
    pairs = b"".join(text(key) + value for key, value in items.items())
    made = name("collections", "OrderedDict") + b")Rq\x00(" + pairs + b"u"
    return b"\x80\x02" + made + b"}" + text("_metadata") + b"}sb."


def write_zip(path: Path, entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for entry, data in entries.items():
            archive.writestr(entry, data)
    return path


def write_tensors(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    items, entries = {}, {}
    for k, (key, values) in enumerate(arrays.items()):
        entries[f"archive/data/{k}"] = np.asarray(values, "<f8").tobytes()
        stride = (1,) * values.ndim
        items[key] = tensor(storage(str(k), count=values.size), size=values.shape, stride=stride)
    return write_zip(path, {"archive/data.pkl": program(items), **entries, "archive/version": b"3"})


def write_state(path: Path, state: State) -> Path:
    arrays = {
        "amplitudes": state.ln_area,
        "sigma_widths": state.ln_sigma,
        "gamma_widths": state.ln_gamma,
        "lam_centers": state.center,
        "a_coeff": np.array(1.0),
        "radial_velocity": np.array(state.radial_velocity),
        "pre_line_centers": state.detected,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_tensors(path, arrays)


def state_of(*columns: list[float], velocity: float = 0.0) -> State:
    center, area, sigma, gamma = (np.array(column, dtype=float) for column in columns)
    logs = (np.log(area), np.log(sigma), np.log(gamma))
    return State(center, *logs, np.round(center, 2), velocity)


def toy_state(teff: float, feh: float) -> State:
    """40 lines over 9983–10017 Å whose parameters are linear in the labels."""
    rng = np.random.default_rng(7)
    center = np.linspace(9983, 10017, 40) + rng.uniform(-0.3, 0.3, 40)
    slope, width, ratio = rng.uniform(-1, 0.5, 40), rng.uniform(-2.8, -2.2, 40), rng.normal(size=40)
    ln_area = rng.uniform(-5, -2.5, 40) + slope * (teff - 5000) / 500 + 0.8 * feh
    shift = 0.004 * (teff - 5000) / 500
    return State(center + shift, ln_area, width, width + 0.5 * ratio, np.round(center, 2))


TOY = [(5000, 0.0), (5000, -0.5), (5500, 0.0), (5500, -0.5)]
WAVE = (9982.0, 10018.0)


def toy_name(teff: float, feh: float) -> str:
    return f"T{teff}G4.5Z{feh}.pt"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for labels in TOY:
        write_state(tmp_path / "states" / toy_name(*labels), toy_state(*labels))
    return tmp_path / "states"


# --- reading -----------------------------------------------------------------------------------


def test_a_written_state_is_read_back(tmp_path: Path) -> None:
    state = toy_state(5100, -0.2)
    found = read_state(write_state(tmp_path / "T5100G4.5Z-0.2.pt", state))
    for key in ("center", "ln_area", "ln_sigma", "ln_gamma", "detected"):
        np.testing.assert_array_equal(getattr(found, key), getattr(state, key))


@pytest.mark.parametrize("file", REAL)
def test_real_files_are_read(file: str) -> None:
    state = read_state(real_file(file))
    count, velocity = REAL[file]
    assert len(state) == count
    assert state.radial_velocity == pytest.approx(velocity, abs=1e-3)
    assert 8068 < state.center.min() < state.center.max() < 12819
    # a first guess that no fit has touched is left only near the ends
    assert 0.98 < state.fitted.mean() < 1.0


def test_strides_offsets_and_kinds(tmp_path: Path) -> None:
    values = np.arange(8, dtype="<f4")
    items = {
        "some": tensor(storage(kind="FloatStorage", count=8), 1, (3,), (2,)),
        "one": tensor(storage(kind="FloatStorage", count=8), 5, (), ()),
        "none": tensor(storage(kind="FloatStorage", count=8), 8, (0,), (1,)),
        "table": tensor(storage(kind="FloatStorage", count=8), 0, (2, 4), (4, 1)),
        "setting": text("left out"),
    }
    entries = {"x/data.pkl": program(items), "x/data/0": values.tobytes()}
    found = read_tensors(write_zip(tmp_path / "a.pt", entries))
    assert set(found) == {"some", "one", "none"}
    np.testing.assert_array_equal(found["some"], [1, 3, 5])
    assert found["one"] == 5
    assert found["none"].size == 0
    big = {**entries, "x/byteorder": b"big", "x/data/0": values.astype(">f4").tobytes()}
    np.testing.assert_array_equal(
        read_tensors(write_zip(tmp_path / "b.pt", big))["some"], [1, 3, 5]
    )


class _Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


def hostile_programs(marker: Path) -> dict[str, bytes]:
    command = f"touch {marker}"
    listed = {
        f"os.system, protocol {p}": pickle.dumps(_Calls(os.system, command), p) for p in range(6)
    }
    ordered = name("collections", "OrderedDict")
    rebuild = name("torch._utils", "_rebuild_tensor_v2")
    listed |= {
        "eval": pickle.dumps(_Calls(eval, f"open({str(marker)!r}, 'w')"), 2),
        "inside a dictionary": pickle.dumps({"amplitudes": _Calls(os.system, command)}, 4),
        "getattr": pickle.dumps(_Calls(getattr, "x", "upper"), 4),
        "dotted name": b"\x80\x04" + text("collections") + text("OrderedDict.fromkeys") + b"\x93.",
        "name of globals": b"\x80\x04" + text("torch._utils") + text("_x.__globals__") + b"\x93.",
        "name that is no text": b"\x80\x04" + number(1) + number(2) + b"\x93.",
        "other name of torch": b"\x80\x02" + name("torch", "load") + text("x") + b"\x85R.",
        "torch's jit": b"\x80\x02" + name("torch.jit", "load") + b")R.",
        "INST": b"(S'true'\nios\nsystem\n.",
        "OBJ": b"\x80\x02(" + ordered + b"o.",
        "NEWOBJ": b"\x80\x02" + ordered + b")\x81.",
        "EXT1": b"\x80\x02\x82\x01.",
        "BUILD of a name": b"\x80\x02" + ordered + b"}" + text("__init__") + rebuild + b"sb.",
        "BUILD of nothing": b"\x80\x02}b.",
        "call of a storage": b"\x80\x02" + name("torch", "DoubleStorage") + b")R.",
        "call of a text": b"\x80\x02" + text("print") + b")R.",
        "call with a text": b"\x80\x02" + rebuild + text("abc") + b"R.",
        "dictionary of something": b"\x80\x02" + ordered + b"}\x85R.",
        "tensor of nothing": b"\x80\x02" + rebuild + b")R.",
        "persistent number": b"\x80\x02" + number(7) + b"Q.",
        "persistent text": b"\x80\x02Prm -rf\n.",
        "persistent path": b"\x80\x02" + storage("../../etc/passwd") + b".",
        "persistent kind": b"\x80\x02" + storage(kind="BoolTensor") + b".",
        "persistent function": b"\x80\x02(" + text("storage") + ordered + text("0") * 2 + b"NtQ.",
        "empty stack": b"\x80\x02R.",
        "no mark": b"\x80\x02tu.",
        "odd items": b"\x80\x02}(" + text("a") + b"u.",
        "items of a tuple": b"\x80\x02)" + text("a") + text("b") + b"s.",
        "key that is no text": b"\x80\x02})" + text("b") + b"s.",
        "unknown memory": b"\x80\x02h\x05.",
        "huge place in memory": b"\x80\x02}r\xff\xff\xff\x7fh\x01.",
        "no end": b"\x80\x02}",
        "nothing": b"",
        "a number": b"\x80\x02" + number(5) + b".",
        "itself": b"\x80\x02}q\x00" + text("a") + b"h\x00s0.",
        "long text": b"\x80\x02X\xff\xff\xff\x7f.",
        "text of no code": b"\x80\x02X\x02\x00\x00\x00\xff\xfe.",
    }
    # 2^60 elements to whoever compares or prints it
    listed["doubling"] = b"\x80\x02)" + b"q\x00h\x00\x86" * 60 + b"}q\x01h\x01h\x00h\x00su."
    return listed


@pytest.mark.parametrize("case", hostile_programs(Path("x")))
def test_hostile_programs_are_refused_and_do_nothing(case: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    data = hostile_programs(marker)[case]
    path = write_zip(tmp_path / "T5000G4.0Z0.0.pt", {"a/data.pkl": data, "a/data/0": bytes(24)})
    with pytest.raises(GridError, match=r"T5000G4.0Z0.0.pt .+: .+\.$") as caught:
        read_tensors(path)
    assert "\n" not in str(caught.value)
    assert not marker.exists()


TENSORS = {
    "beyond the end": tensor(offset=1),
    "negative offset": tensor(offset=-1),
    "negative size": tensor(size=(-3,)),
    "negative stride": tensor(stride=(-1,)),
    "stride 0": tensor(stride=(0,)),
    "huge through stride 0": tensor(size=(2**38,), stride=(0,)),
    "huge": tensor(storage(count=2**39), size=(2**39,)),
    "beyond any size": tensor(storage(count=2**62), size=(2**62,)),
    "strides missing": tensor(stride=()),
    "other bytes than declared": tensor(storage(count=4)),
    "no such bytes": tensor(storage(key="7")),
    "true for a size": tensor().replace(number(3) + b"t(", b"\x88t("),
    "size that is a text": tensor().replace(counts((3,)), text("3"), 1),
}


@pytest.mark.parametrize("case", TENSORS)
def test_bad_tensors_are_refused(case: str, tmp_path: Path) -> None:
    entries = {"a/data.pkl": program({"amplitudes": TENSORS[case]}), "a/data/0": bytes(24)}
    assert entries["a/data.pkl"] != program({"amplitudes": tensor()})
    with pytest.raises(GridError, match="expected a dictionary of tensors"):
        read_tensors(write_zip(tmp_path / "a.pt", entries))


GOOD = {"a/data.pkl": program({"amplitudes": tensor()}), "a/data/0": bytes(24)}
ARCHIVES = {
    "path upwards": {**GOOD, "a/../../x": b""},
    "absolute path": {**GOOD, "/etc/x": b""},
    "two folders": {**GOOD, "b/data/0": bytes(24)},
    "no pickle": {"a/data/0": bytes(24)},
    "many entries": {**GOOD, **{f"a/{k}": b"" for k in range(1001)}},
    "long pickle": {**GOOD, "a/data.pkl": b"\x80\x02" + text("x" * 2**20) + b"."},
    "byte order": {**GOOD, "a/byteorder": b"middle"},
}


@pytest.mark.parametrize("case", ARCHIVES)
def test_bad_archives_are_refused(case: str, tmp_path: Path) -> None:
    with pytest.raises(GridError, match=r"a\.pt (has|states)"):
        read_tensors(write_zip(tmp_path / "a.pt", ARCHIVES[case]))


def test_compressed_doubled_and_foreign_files_are_refused(tmp_path: Path) -> None:
    bomb = {**GOOD, "a/data/1": bytes(2**24)}
    path = write_zip(tmp_path / "bomb.pt", bomb, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**16
    with pytest.raises(GridError, match="more bytes than it has"):
        read_tensors(path)
    path = write_zip(tmp_path / "deflated.pt", {**GOOD, "a/data/1": os.urandom(99)}, 8)
    with pytest.raises(GridError, match="compressed"):
        read_tensors(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", GOOD["a/data.pkl"])
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a/data.pkl", GOOD["a/data.pkl"])
    with pytest.raises(GridError, match="two entries"):
        read_tensors(path)
    for data in (b"", b"PK\x03\x04", pickle.dumps({"a": 1}), b"\x89HDF\r\n\x1a\n" + bytes(99)):
        path.write_bytes(data)
        with pytest.raises(GridError, match="no zip archive"):
            read_tensors(path)
    with pytest.raises(GridError, match="no file"):
        read_tensors(tmp_path / "absent.pt")
    with pytest.raises(GridError, match="folder"):
        read_tensors(tmp_path)


def test_a_file_cut_short_or_with_flipped_bits_is_refused_or_unharmed(tmp_path: Path) -> None:
    path = write_state(tmp_path / "a.pt", toy_state(5000, 0.0))
    whole, good = path.read_bytes(), read_state(path)
    for stop in range(0, len(whole), 71):
        path.write_bytes(whole[:stop])
        with pytest.raises(GridError, match=r"a\.pt"):
            read_state(path)
    rng = np.random.default_rng(1)
    refused = 0
    for place in rng.integers(0, len(whole), 300):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            found = read_state(path)
        except GridError:
            refused += 1
        else:  # in dates and the like
            np.testing.assert_array_equal(found.ln_area, good.ln_area)
            np.testing.assert_array_equal(found.center, good.center)
    assert refused > 200


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 400), st.booleans())
def test_random_programs_are_read_or_refused(noise: bytes, place: int, inserted: bool) -> None:
    data = GOOD["a/data.pkl"]
    place %= len(data)
    data = data[:place] + noise + data[place if inserted else place + len(noise) :]
    with tempfile.TemporaryDirectory() as folder:
        path = write_zip(Path(folder) / "a.pt", {"a/data.pkl": data, "a/data/0": bytes(24)})
        with contextlib.suppress(GridError):  # anything else would fail the test
            read_tensors(path)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"amplitudes": np.full(40, np.nan)}, "amplitudes"),
        ({"sigma_widths": np.full(40, 30.0)}, "sigma_widths"),
        ({"lam_centers": np.full(40, -5.0)}, "lam_centers"),
        ({"gamma_widths": np.zeros(39)}, "shape"),
        ({"pre_line_centers": np.zeros((40, 1))}, None),
        ({"radial_velocity": np.array(np.inf)}, "velocity"),
    ],
)
def test_values_that_no_line_has(change: dict, word: str | None, tmp_path: Path) -> None:
    state = toy_state(5000, 0.0)
    arrays = {
        "amplitudes": state.ln_area,
        "sigma_widths": state.ln_sigma,
        "gamma_widths": state.ln_gamma,
        "lam_centers": state.center,
    }
    path = write_tensors(tmp_path / "a.pt", {**arrays, **change})
    if word is None:  # not one-dimensional: as if it were not there
        np.testing.assert_array_equal(read_state(path).detected, state.center)
        return
    with pytest.raises(GridError, match=word):
        read_state(path)
    arrays.pop("gamma_widths")
    with pytest.raises(GridError, match="no gamma_widths"):
        read_state(write_tensors(path, arrays))


# --- names and pixels --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "labels"),
    [
        ("T3700G5.0Z0.0.pt", (3700, 5.0, 0.0)),
        ("T10000G4.0Z-0.5.pt", (10000, 4.0, -0.5)),
        ("T2300G2.0Z+0.5.pt", (2300, 2.0, 0.5)),
        ("T5800G-0.5Z-0.0.pt", (5800, -0.5, 0.0)),
        ("emulator_T4700g4p5_prom0p01_HPF.pt", (4700, 4.5)),
        ("sparse_T4100g3p5_prom0p01_HPF.pt", (4100, 3.5)),
        ("emulator_T4700g4p5z-0p5_prom0p01.pt", (4700, 4.5, -0.5)),
        ("native_T4700g4p5_zm0p5.pt", (4700, 4.5, -0.5)),
        ("T5800.pt", ()),
        ("model.pt", ()),
        ("T5800G4.5Z0.0 (copy).pt", ()),
    ],
)
def test_labels_are_in_the_name(file: str, labels: tuple) -> None:
    names = ("teff", "logg", "feh")[: len(labels)]
    assert labels_of_state(file) == dict(zip(names, labels, strict=True))
    assert str(labels_of_state(file).get("feh")) != "-0.0"


def test_files_are_found_in_order_of_labels(folder: Path) -> None:
    (folder / "deep").mkdir()
    write_state(folder / "deep" / "old_T4800g4p5.pt", toy_state(5000, 0.0))
    (folder / "._T9000G4.0Z0.0.pt").write_bytes(b"as some systems leave it")
    (folder / "best.pt").write_bytes(b"")
    found, unnamed = find_states(folder, feh=-0.25)
    assert [file.labels for file in found[:2]] == [(4800, 4.5, -0.25), (5000, 4.5, -0.5)]
    assert [path.name for path in unnamed] == ["best.pt"]
    write_state(folder / "again_T5000g4p5z0p0.pt", toy_state(5000, 0.0))
    with pytest.raises(GridError, match=r"both of teff=5000 logg=4\.5 feh=0"):
        find_states(folder)


def test_no_files(tmp_path: Path) -> None:
    with pytest.raises(GridError, match="no folder"):
        find_states(tmp_path / "absent")
    with pytest.raises(GridError, match=r"no \.pt"):
        find_states(tmp_path)
    (tmp_path / "model.pt").write_bytes(b"")
    with pytest.raises(GridError, match=r"T5800G4\.5Z-0\.5\.pt"):
        find_states(tmp_path)


def test_native_pixels_are_those_of_phoenix() -> None:
    path = ORIGINAL.parent / "phoenix-10000K-native.npz"
    if not path.is_file():
        pytest.skip(f"{path} is not here: it is not part of the project")
    with np.load(path) as arrays:
        wave = arrays["wavelength"]
    ours = native_wavelength(wave[0], wave[-1])
    assert ours.shape == wave.shape
    np.testing.assert_allclose(ours, wave, rtol=0, atol=1e-6)


def test_pixels() -> None:
    assert choose_pixels(9999.985, 10000.05).tolist() == [9999.99, 10000.0, 10000.02, 10000.04]
    assert choose_pixels(10000.01, 10000.05).tolist() == [10000.02, 10000.04]
    np.testing.assert_allclose(choose_pixels(5.0, 6.0, 0.25), [5, 5.25, 5.5, 5.75, 6])
    for bad in ((9000, 8000, None), (8000, 9000, 0.0), (1, 2e9, None), (8000, np.inf, None)):
        with pytest.raises(InputError):
            choose_pixels(*bad)


# --- the original's flux -----------------------------------------------------------------------


def brute_force(state: State, wave: np.ndarray) -> np.ndarray:
    """Every line at every pixel, one after the other, as the form is written down."""
    sigma, gamma = np.exp(state.ln_sigma), np.exp(state.ln_gamma)
    fg, fl = 2.3548 * sigma, 2.0 * gamma
    terms = (fg**5, 2.69269 * fg**4 * fl, 2.42843 * fg**3 * fl**2, 4.47163 * fg**2 * fl**3)
    f = (sum(terms) + 0.07842 * fg * fl**4 + fl**5) ** 0.2
    eta = 1.36603 * fl / f - 0.47719 * (fl / f) ** 2 + 0.11116 * (fl / f) ** 3
    center = state.center * (1.0 + state.radial_velocity / 299792.458)
    flux = np.ones_like(wave)
    for k in range(len(state)):
        x = wave - center[k]
        lorentz = gamma[k] / np.pi / (gamma[k] ** 2 + x**2)
        gauss = np.exp(-0.5 * (x / sigma[k]) ** 2) / (sigma[k] * np.sqrt(2.0 * np.pi))
        profile = np.exp(state.ln_area[k]) * (eta[k] * lorentz + (1.0 - eta[k]) * gauss)
        flux *= 1.0 - np.clip(profile, 0.0, 1.0 - 1e-9)
    return flux


@pytest.mark.parametrize("file", REAL)
def test_real_files_render_as_the_brute_force_sum(file: str) -> None:
    """All lines, no windows; every 40th pixel of the whole range, and all around a strong line."""
    state = read_state(real_file(file))
    wave = native_wavelength(8038.0, 12849.0)
    strong = state.center[state.ln_area.argmax()]
    some = (np.arange(wave.size) % 40 == 0) | (np.abs(wave - strong) < 5.0)
    flux = original_flux(state, wave)[some]
    assert np.abs(flux - brute_force(state, wave[some])).max() < 1e-10
    assert flux.min() < 0.3


def test_narrow_wide_weak_saturated_and_distant_lines() -> None:
    rng = np.random.default_rng(3)
    n = 300
    columns = (rng.uniform(9900, 10100, n), rng.normal(-4, 2, n), rng.normal(-3, 1.5, n))
    state = State(*columns, rng.normal(-3, 1.5, n), columns[0], 12.0)
    wave = np.sort(np.append(native_wavelength(9950, 10050), state.center[:50]))
    np.testing.assert_allclose(original_flux(state, wave), brute_force(state, wave), atol=1e-11)
    wave = np.array([10000.0])
    np.testing.assert_allclose(original_flux(state, wave), brute_force(state, wave), atol=1e-11)


def test_no_lines_no_absorption_and_a_saturated_pixel() -> None:
    wave = np.linspace(8000, 8010, 500)
    none = state_of([], [], [], [])
    assert (original_flux(none, wave) == 1.0).all()
    black = original_flux(state_of([8005.0], [9.0], [0.1], [0.01]), wave)
    assert black.min() == pytest.approx(1e-9)


# --- lines in our form -------------------------------------------------------------------------


def profile_of(x: np.ndarray, params: np.ndarray) -> np.ndarray:
    """aV of one line of ours, in float64, from its parameters."""
    area, sigma, gamma = np.exp(params[1:])
    fg, fl = np.sqrt(8 * np.log(2)) * sigma, 2 * gamma
    weights = (1, 2.69269, 2.42843, 4.47163, 0.07842, 1)
    f = sum(c * fg ** (5 - k) * fl**k for k, c in enumerate(weights)) ** 0.2
    eta = 1.36603 * fl / f - 0.47719 * (fl / f) ** 2 + 0.11116 * (fl / f) ** 3
    lorentz = f / 2 / np.pi / ((f / 2) ** 2 + x**2)
    gauss = np.exp(-4 * np.log(2) * (x / f) ** 2) * np.sqrt(4 * np.log(2) / np.pi) / f
    return area * (eta * lorentz + (1 - eta) * gauss)


@pytest.mark.parametrize("ratio", [-1.2, -0.3, UNFITTED, 0.6, 1.5])
def test_our_line_is_the_closest_to_the_original_s(ratio: float) -> None:
    """No change of area or width brings it closer, in the integral of the squared difference."""
    state = State(*(np.array([v]) for v in (9000.0, -3.0, -2.5, -2.5 + ratio, 9000.0)))
    x = np.linspace(-40, 40, 160_001)
    wanted = 1.0 - original_flux(state, 9000.0 + x)
    params = to_lines(state).params[0].astype(float)

    def distance(change: np.ndarray) -> float:
        return float(np.sum((profile_of(x, params + change) - wanted) ** 2))

    best = distance(np.zeros(4))
    for column in (1, 2, 3):
        for size in (-0.05, 0.05):
            assert distance(size * np.eye(4)[column]) >= best * (1 - 1e-3)
    assert best < 0.2**2 * np.sum(wanted**2)


def test_a_gaussian_and_a_lorentzian_stay_what_they_are() -> None:
    state = state_of([9000.0, 9010.0], [0.05, 0.05], [0.1, 1e-4], [1e-5, 0.1])
    lines = to_lines(state)
    np.testing.assert_allclose(np.exp(lines.ln_area), 0.05, rtol=5e-3)
    assert lines.sigma[0] == pytest.approx(0.1, rel=1e-2)
    assert lines.gamma[1] == pytest.approx(0.1, rel=1e-2)


def test_lines_are_named_by_where_they_were_detected() -> None:
    state = State(
        np.array([9000.013, 9000.004, 9002.02]),
        *np.full((3, 3), -3.0),
        np.array([9000.01, 9000.01, 9002.02]),
    )
    lines = to_lines(state)
    np.testing.assert_allclose(lines.reference, [9000.01, 9000.02, 9002.02])
    np.testing.assert_allclose(lines.center, state.center, atol=1e-6)


def test_shared_lines_and_nodes_that_lack_one() -> None:
    one = to_lines(state_of([9000.0, 9010.0, 9020.0], [0.02, 0.03, 0.04], [0.1] * 3, [0.1] * 3))
    other = to_lines(state_of([9000.02, 9020.01], [0.01, 0.05], [0.2] * 2, [0.1] * 2))
    catalogue = shared_lines([one, other], 1.0)
    assert len(catalogue) == 3
    which, place = match(other, catalogue, 1.0)
    assert which.tolist() == [1, 0] or which.tolist() == [0, 1]
    assert sorted(place.tolist()) == [0, 2]
    filled = at_shared(other, catalogue, 1.0)
    np.testing.assert_allclose(filled.center[[0, 2]], [9000.02, 9020.01], atol=1e-5)
    np.testing.assert_allclose(filled.ln_area[[0, 2]], other.ln_area)
    assert filled.ln_area[1] == pytest.approx(one.ln_area[1] - np.log(4), abs=1e-5)
    assert filled.sigma[1] == pytest.approx(one.sigma[1], rel=1e-5)


# --- the chain ---------------------------------------------------------------------------------


def test_import_build_and_flux_of_a_known_world(folder: Path, tmp_path: Path) -> None:
    report = import_states(folder, tmp_path / "c.zarr", wave=WAVE)
    assert report.imported == (0, 1, 2, 3)
    assert not report.failed
    model = build(open_archive(tmp_path / "c.zarr"))
    assert model.label_names == ("teff", "logg", "feh")
    assert len(model.reference) == 40
    for teff, feh in TOY:
        truth = original_flux(toy_state(teff, feh), model.wavelength)
        found = np.asarray(model.flux(teff=teff, logg=4.5, feh=feh))
        assert np.sqrt(np.mean((found - truth) ** 2)) < 1e-4
    truth = original_flux(toy_state(5250, -0.25), model.wavelength)
    middle = np.asarray(model.flux(teff=5250, logg=4.5, feh=-0.25))
    assert np.sqrt(np.mean((middle - truth) ** 2)) < 0.005
    assert np.sqrt(np.mean((1 - truth) ** 2)) > 0.04


def test_default_range_is_that_of_fitted_lines(folder: Path, tmp_path: Path) -> None:
    state = toy_state(5000, 0.0)
    state.ln_gamma[:4] = state.ln_sigma[:4] + UNFITTED
    write_state(folder / toy_name(5000, 0.0), state)
    for labels in TOY[1:]:
        (folder / toy_name(*labels)).unlink()
    report = import_states(folder, tmp_path / "c.zarr")
    wave = report.archive.wavelength
    assert wave[0] == np.ceil(state.center[4])
    assert wave[-1] == np.floor(state.center[-1])
    state.ln_gamma[:] = state.ln_sigma + UNFITTED
    write_state(folder / toy_name(5000, 0.0), state)
    with pytest.raises(InputError, match="--wave"):
        import_states(folder, tmp_path / "d.zarr")


def test_the_paper_s_way(folder: Path, tmp_path: Path) -> None:
    """Lines of equal detected centres are one; a node that lacks one has −1000."""
    short = toy_state(5500, 0.0)
    cut = State(
        *(v[1:] for v in (short.center, short.ln_area, short.ln_sigma, short.ln_gamma)),
        short.detected[1:],
    )
    write_state(folder / toy_name(5500, 0.0), cut)
    report = import_states(folder, tmp_path / "c.zarr", as_paper=True, wave=WAVE)
    counts = [len(report.archive[i].lines) for i in range(4)]
    model = build(report.archive)
    assert len(model.reference) == max(counts)
    assert report.archive.recipe.name == "paper"


def test_a_second_run_does_only_what_is_new(folder: Path, tmp_path: Path) -> None:
    import_states(folder, tmp_path / "c.zarr", wave=WAVE)
    assert import_states(folder, tmp_path / "c.zarr", wave=WAVE).imported == ()
    import_states(folder, tmp_path / "p.zarr", wave=WAVE, as_paper=True)
    state = toy_state(5500, -0.5)
    state.ln_area[5] += 0.1
    write_state(folder / toy_name(5500, -0.5), state)
    report = import_states(folder, tmp_path / "p.zarr", wave=WAVE, as_paper=True)
    assert [report.archive.labels[i].tolist() for i in report.imported] == [[5500, 4.5, -0.5]]
    # lines that nodes share depend on all files
    assert len(import_states(folder, tmp_path / "c.zarr", wave=WAVE).imported) >= 1
    with pytest.raises(ArchiveError, match="another"):
        import_states(folder, tmp_path / "c.zarr", wave=(9985, 10000))


def test_an_interrupted_run_goes_on(folder: Path, tmp_path: Path) -> None:
    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "import" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_states(folder, tmp_path / "c.zarr", wave=WAVE, progress=interrupt)
    assert import_states(folder, tmp_path / "c.zarr", wave=WAVE).imported == (2, 3)


def test_a_damaged_file_stops_no_other(folder: Path, tmp_path: Path) -> None:
    path = folder / toy_name(5500, 0.0)
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    (folder / "notes.pt").write_bytes(b"")
    report = import_states(folder, tmp_path / "c.zarr", wave=WAVE)
    assert len(report.imported) == 3
    assert {Path(file).name for file in report.failed} == {path.name, "notes.pt"}
    model = build(report.archive)  # a hole, filled from its neighbours
    assert np.isfinite(np.asarray(model.flux(teff=5500, logg=4.5, feh=0.0))).all()
    path.write_bytes(whole)
    report = import_states(folder, tmp_path / "c.zarr", wave=WAVE)
    assert [5500, 4.5, 0.0] in [report.archive.labels[i].tolist() for i in report.imported]
    assert not report.archive.failed
    for file in folder.glob("T*.pt"):
        file.write_bytes(b"")
    with pytest.raises(GridError, match="no file can be read"):
        import_states(folder, tmp_path / "d.zarr", wave=WAVE)


def test_the_grid_of_states(folder: Path) -> None:
    files, _ = find_states(folder)
    grid = states_grid(files, native_wavelength(*WAVE))
    assert grid.describe(0) == "teff=5000 logg=4.5 feh=-0.5"
    np.testing.assert_allclose(
        grid[0].flux, original_flux(toy_state(5000, -0.5), grid.wavelength), atol=1e-6
    )


def test_from_files_to_a_star_by_the_command_line(run, tmp_path: Path) -> None:
    """A star between the nodes, made by the original's own form, and a spectrum of it."""
    for teff, feh in product((5000, 5250, 5500), (-0.5, -0.25, 0.0)):
        write_state(tmp_path / "states" / toy_name(teff, feh), toy_state(teff, feh))
    clones, model, made = (tmp_path / name for name in ("c.zarr", "m.zip", "made.npz"))
    words = ("import-states", tmp_path / "states", "-o", clones, "--wave", "9982:10018")
    assert run(*words)[0] == 0
    assert run("build", clones, "-o", model)[0] == 0
    labels = ("--teff", 5130, "--logg", 4.5, "--feh", -0.13)
    assert run("synth", model, *labels, "-o", made)[0] == 0
    wave = read_spectrum(made).wavelength
    truth = original_flux(toy_state(5130, -0.13), wave)
    assert np.sqrt(np.mean((read_spectrum(made).flux - truth) ** 2)) < 2e-3
    noise = np.random.default_rng(5).normal(0.0, 2e-3, wave.size)
    star = Spectrum(wave, truth + noise, np.full(wave.size, 2e-3), meta={"medium": "vacuum"})
    write_spectrum(star, tmp_path / "star.npz")
    known = ("--fix", "resolution=inf", "--fix", "vsini=0", "--json")
    status, out, _ = run("infer", tmp_path / "star.npz", "--model", model, *known)
    assert status == 0
    found = json.loads(out)[0]["labels"]
    assert abs(found["teff"]["value"] - 5130) < 5 * found["teff"]["sigma"] < 100
    assert abs(found["feh"]["value"] + 0.13) < 5 * found["feh"]["sigma"] < 0.1
    assert found["logg"]["value"] == 4.5


def test_real_files_to_a_model(tmp_path: Path) -> None:
    folder = real_file(next(iter(REAL))).parent
    report = import_states(folder, tmp_path / "c.zarr", wave=(8480, 8520))
    assert len(report.imported) == 2
    assert report.archive[0].flags == ("a radial velocity of 9.678 km/s left out",)
    model = build(report.archive)
    for file, labels in zip(REAL, ((4700, 4.5), (4100, 3.5)), strict=True):
        truth = original_flux(read_state(real_file(file)).at_rest(), model.wavelength)
        found = np.asarray(model.flux(teff=labels[0], logg=labels[1], feh=0.0))
        assert np.sqrt(np.mean((found - truth) ** 2)) < 1e-4


def test_real_files_become_clones_that_hold_the_original_s_flux(tmp_path: Path) -> None:
    folder = real_file(next(iter(REAL))).parent
    archive = import_states(folder, tmp_path / "c.zarr", wave=(8490, 8505)).archive
    for i, file in enumerate(reversed(REAL)):  # by falling, and by rising temperature
        truth = brute_force(read_state(real_file(file)).at_rest(), archive.wavelength)
        assert np.abs(archive[i].flux - truth).max() < 1e-6
        assert truth.min() < 0.5


def test_real_lines_in_our_form_are_close(tmp_path: Path) -> None:
    """Each node by itself: what is left for the residual is half a per cent."""
    folder = real_file(next(iter(REAL))).parent
    report = import_states(folder, tmp_path / "c.zarr", as_paper=True, wave=(10000, 10200))
    for i in range(2):
        assert report.archive[i].misfit < 0.005


# --- the command -------------------------------------------------------------------------------


def test_command(run, folder: Path, tmp_path: Path) -> None:
    words = ("import-states", folder, "-o", tmp_path / "c.zarr")
    words += ("--wave", "9982:10018", "--step", "0.02")
    status, out, _ = run(*words)
    assert status == 0
    assert "4 nodes imported" in out
    assert open_archive(tmp_path / "c.zarr").recipe == STATES
    path = folder / toy_name(5000, 0.0)
    path.write_bytes(path.read_bytes()[:-40])
    status, out, err = run(*words)
    assert status == 1
    assert path.name in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (["absent"], "no folder"),
        (["."], "no .pt"),
        (["states", "--step", "-1"], "step"),
        (["states", "--wave", "1"], "LO:HI"),
    ],
)
def test_bad_input_gets_one_sentence(run, folder: Path, tmp_path: Path, words, word) -> None:
    (tmp_path / "empty").mkdir()
    where = {"states": folder, ".": tmp_path / "empty", "absent": tmp_path / "absent"}[words[0]]
    status, out, err = run("import-states", where, *words[1:], "-o", tmp_path / "c.zarr")
    assert status == 1
    assert word in err
    assert out == ""
    assert not (tmp_path / "c.zarr").exists()
