"""Writer of state dictionaries, a toy universe of known lines in them, and the real files."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from blase3d.fitting.original.states import State

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
