"""Named arrays from a PyTorch file, without PyTorch and without running anything in it.

A file of `torch.save` (1.6 and later) is a zip archive: `NAME/data.pkl`, a pickle with the
structure, and `NAME/data/0`, `NAME/data/1`, ... with the bytes of the numbers. A pickle is a
program for a stack machine, two of whose instructions import a name and call it. `_Machine` carries
out the few instructions that a dictionary of tensors needs. It imports nothing, and calls nothing
but `_tensor` and `_empty_dictionary` below; other instructions and names are refused.

`pickle.Unpickler` with an allow-list is not enough: before any name is looked up, a few bytes make
it allocate tens of GB (a memo index of 2³¹) or run forever (the hash of a doubled tuple as a key).

The bytes must be stored uncompressed, as PyTorch does, so that no file holds more than its size.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import GridError, InputError
from ...runtime.files import first_line, require_file

LARGEST_FILE = 256 * 2**20
"""Bytes of the largest file that is read; the original's have a few MB at most."""
LARGEST_PICKLE = 2**20
"""Bytes"""
MOST_ENTRIES = 1000
_KINDS = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "LongStorage": "i8",
    "IntStorage": "i4",
}
_NAME = re.compile(r"(?P<root>[^/\\\0]+)/(?P<entry>[^\\\0]+)")


class _Refused(Exception):
    """A fault of a file, as the predicate of a sentence."""


def read_tensors(path: str | Path) -> dict[str, NDArray[Any]]:
    """Return the tensors of at most one dimension in a dictionary that `torch.save` wrote, by name.

    Other entries of the dictionary (settings, numbers, tensors of more dimensions) are omitted.

    Raises
    ------
    GridError
        The file has another format, is damaged, or contains anything but tensors.
    """
    path = Path(path)
    require_file(path, GridError)
    try:
        return _read(path)
    except InputError:
        raise
    except _Refused as refusal:
        raise GridError(
            f"{path} {refusal}: expected a dictionary of tensors as torch.save writes it, and "
            "nothing else; copy it again from where it was published."
        ) from None
    except Exception as failure:  # zipfile and pickletools raise many kinds on damaged bytes
        raise GridError(
            f"{path} cannot be read as a PyTorch file ({first_line(failure)}): it is damaged or "
            "cut short; copy it again."
        ) from failure


def _read(path: Path) -> dict[str, NDArray[Any]]:
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise _Refused(f"has {size} bytes, more than the {LARGEST_FILE} that are read")
    if not zipfile.is_zipfile(path):
        raise _Refused("is no zip archive, or one cut short")
    with zipfile.ZipFile(path) as archive:
        entries = _checked_entries(archive, size)
        if "data.pkl" not in entries:
            raise _Refused("has no data.pkl")
        if entries["data.pkl"].file_size > LARGEST_PICKLE:
            raise _Refused(f"has a data.pkl of more than {LARGEST_PICKLE} bytes")
        content = _Machine().run(archive.read(entries["data.pkl"]))
        order = archive.read(entries["byteorder"]) if "byteorder" in entries else b"little"
        if order not in (b"little", b"big"):
            raise _Refused("states a byte order that is neither little nor big")

        def storage(key: str) -> bytes:
            if f"data/{key}" not in entries:
                raise _Refused(f"has no data/{key}")
            return archive.read(entries[f"data/{key}"])

        return _arrays(content, storage, ">" if order == b"big" else "<")


def _checked_entries(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """The entries by their names below the one folder of the archive."""
    listed = archive.infolist()
    if len(listed) > MOST_ENTRIES:
        raise _Refused(f"has {len(listed)} entries, more than the {MOST_ENTRIES} that are read")
    if sum(entry.file_size for entry in listed) > size:
        raise _Refused("declares more bytes than it has")
    entries, roots = {}, set()
    for entry in listed:
        match = _NAME.fullmatch(entry.filename)
        if match is None or ".." in entry.filename.split("/") or match["root"] == ".":
            raise _Refused("has an entry whose name is not of the form FOLDER/NAME")
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise _Refused("has an entry that is compressed or encrypted")
        entries[match["entry"]] = entry
        roots.add(match["root"])
    if len(roots) != 1 or len(entries) != len(listed):
        raise _Refused("has two entries of one name, or more than one folder")
    return entries


# --- the stack machine -------------------------------------------------------------------------


@dataclass(frozen=True)
class _Name:
    """A name that a pickle would import, which remains a name."""

    text: str


@dataclass(frozen=True, eq=False)
class _Storage:
    """The bytes of a tensor: entry `data/key`, with `count` numbers of NumPy type `kind`."""

    key: str
    kind: str
    count: int


@dataclass(frozen=True, eq=False)
class _Tensor:
    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


_MARK = object()
_ADMITTED = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    *(f"torch {kind}" for kind in _KINDS),
}
_ARGUMENTS = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
}


@dataclass(eq=False)
class _Machine:
    """Interpreter of the instructions of a pickle that make dictionaries and tensors."""

    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def run(self, program: bytes) -> Any:
        """Return the object that a program leaves on the stack."""
        for instruction, argument, _ in pickletools.genops(program):
            name = instruction.name
            if name == "STOP":
                return self._pop()
            if name in _ARGUMENTS:
                self.stack.append(argument)
            elif name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name]())
            elif name in _STEPS:
                _STEPS[name](self, argument)
            else:
                raise _Refused(f"has the pickle instruction {name}, which is not carried out")
        raise _Refused("has a pickle without an end")

    def _top(self) -> Any:
        if not self.stack:
            raise _Refused("has a pickle that takes from an empty stack")
        return self.stack[-1]

    def _pop(self) -> Any:
        self._top()
        return self.stack.pop()

    def _popped_to_mark(self) -> list[Any]:
        items = []
        while (item := self._pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def ignore(self, _: Any) -> None:
        """Skip an instruction that has no effect: protocol, frame."""

    def mark(self, _: Any) -> None:
        self.stack.append(_MARK)

    def put(self, index: int | None) -> None:
        self.memo[len(self.memo) if index is None else index] = self._top()

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise _Refused("has a pickle that refers to an object that it does not have")
        self.stack.append(self.memo[index])

    def tuple_to_mark(self, _: Any) -> None:
        self.stack.append(tuple(self._popped_to_mark()))

    def tuple_of(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        self.stack.append(tuple(items[::-1]))

    def name(self, text: str) -> None:
        if text not in _ADMITTED:
            raise _Refused(f"asks for {text.replace(' ', '.')[:80]!r}, which is not allowed")
        self.stack.append(_Name(text))

    def stack_name(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise _Refused("asks for a name that is no text")
        self.name(f"{module} {name}")

    def set_items(self, _: Any) -> None:
        self._set(self._popped_to_mark())

    def set_item(self, _: Any) -> None:
        value, key = self._pop(), self._pop()
        self._set([key, value])

    def _set(self, items: list[Any]) -> None:
        target = self._top()
        keys, values = items[::2], items[1::2]
        if not isinstance(target, dict) or len(keys) != len(values):
            raise _Refused("has a pickle that sets items of an object that is no dictionary")
        if not all(isinstance(key, str) for key in keys):
            raise _Refused("has a dictionary with a key that is no text")
        target.update(zip(keys, values, strict=True))

    def call(self, _: Any) -> None:
        arguments, name = self._pop(), self._pop()
        if not isinstance(name, _Name) or name.text not in _CALLS:
            raise _Refused("has a pickle that calls an object that is not allowed")
        if not isinstance(arguments, tuple):
            raise _Refused("has a pickle that calls without arguments")
        self.stack.append(_CALLS[name.text](*arguments))

    def storage(self, _: Any) -> None:
        self.stack.append(_storage(self._pop()))

    def forget_state(self, _: Any) -> None:
        """Drop the attributes of a dictionary (versions of its modules)."""
        self._pop()
        if not isinstance(self._top(), dict):
            raise _Refused("has a pickle that changes an object that is no dictionary")


_STEPS: Mapping[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _Machine.ignore,
    "FRAME": _Machine.ignore,
    "MARK": _Machine.mark,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.put,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "TUPLE": _Machine.tuple_to_mark,
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.stack_name,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "REDUCE": _Machine.call,
    "BINPERSID": _Machine.storage,
    "BUILD": _Machine.forget_state,
}


def _empty_dictionary(*arguments: Any) -> dict[str, Any]:
    if arguments:
        raise _Refused("has a dictionary with arguments")
    return {}


def _tensor(*arguments: Any) -> _Tensor:
    """The arguments are storage, offset, size, stride; more are about gradients and hooks."""
    if not 4 <= len(arguments) <= 7 or not isinstance(arguments[0], _Storage):
        raise _Refused("has a tensor without a storage")
    storage, offset, size, stride = arguments[:4]
    if not (_is_count(offset) and _is_counts(size) and _is_counts(stride)):
        raise _Refused("has a tensor whose offset, size or stride is no integer from 0 on")
    if len(size) != len(stride):
        raise _Refused("has a tensor with more or fewer strides than dimensions")
    return _Tensor(storage, offset, size, stride)


_CALLS: Mapping[str, Callable[..., Any]] = {
    "collections OrderedDict": _empty_dictionary,
    "torch._utils _rebuild_tensor_v2": _tensor,
}


def _storage(identity: Any) -> _Storage:
    """The storage of a persistent id: ("storage", kind, key, device, count)."""
    if not isinstance(identity, tuple) or len(identity) != 5:
        raise _Refused("refers to bytes in an unknown way")
    tag, kind, key, _, count = identity
    texts = isinstance(tag, str) and isinstance(key, str)
    if not texts or tag != "storage" or not isinstance(kind, _Name):
        raise _Refused("refers to bytes in an unknown way")
    numpy_kind = _KINDS.get(kind.text.removeprefix("torch "))
    if numpy_kind is None or not re.fullmatch(r"\d{1,9}", key, re.ASCII) or not _is_count(count):
        raise _Refused("refers to bytes in an unknown way")
    return _Storage(key, numpy_kind, count)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**40


def _is_counts(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) <= 8 and all(map(_is_count, value))


# --- tensors to arrays -------------------------------------------------------------------------


def _arrays(content: Any, storage: Callable[[str], bytes], order: str) -> dict[str, NDArray[Any]]:
    if not isinstance(content, dict):
        raise _Refused("holds no dictionary")
    tensors = {name: value for name, value in content.items() if isinstance(value, _Tensor)}
    return {
        name: _array(name, tensor, storage, order)
        for name, tensor in tensors.items()
        if len(tensor.size) <= 1
    }


def _array(name: str, tensor: _Tensor, storage: Callable[[str], bytes], order: str) -> NDArray[Any]:
    """The array () or (n,) of a tensor."""
    kind = np.dtype(order + tensor.storage.kind)
    data = storage(tensor.storage.key)
    shown = repr(name[:40])
    if len(data) != tensor.storage.count * kind.itemsize:
        raise _Refused(f"has {len(data)} bytes for {shown}, another number than it declares")
    count, stride = (*tensor.size, 1)[0], (*tensor.stride, 1)[0]
    if count > 1 and stride < 1:
        raise _Refused(f"has {shown}, which repeats one number")
    last = tensor.offset + (count - 1) * stride
    if count and last >= tensor.storage.count:
        raise _Refused(f"has {shown} reaching beyond its bytes")
    numbers = np.frombuffer(data, kind)[tensor.offset : last + 1 : max(stride, 1)]
    native = kind.newbyteorder("=")
    return numbers[:count].astype(native).reshape(tensor.size)
