"""PyTorch files are read without running anything in them; bad ones are refused."""

from __future__ import annotations

import contextlib
import os
import pickle
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from state_files import (
    REAL,
    counts,
    name,
    number,
    program,
    real_file,
    storage,
    tensor,
    text,
    toy_state,
    write_state,
    write_tensors,
    write_zip,
)

from blase3d.errors import GridError
from blase3d.fitting.original.states import read_state
from blase3d.fitting.original.torch_zip import read_tensors


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
