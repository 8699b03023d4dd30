"""Nothing in a file is run, and nothing outside of what is named is read, written or removed."""

from __future__ import annotations

import ast
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from bad_files import World, copied, make_world, npz, rezipped, snapshot
from toy_models import model_of

import blase3d
from blase3d.errors import ArchiveError, GridError
from blase3d.fitting.archive import open_archive
from blase3d.libraries import open_grid
from blase3d.model.model_file import load_model
from blase3d.runtime.files import replacing, require_writable
from blase3d.spectra.spectrum import Spectrum
from blase3d.views.report import write_report

ROOT = Path(blase3d.__file__).parent
RUNS_CODE = {
    *("pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "code"),
    *("torch", "yaml", "subprocess", "runpy", "pty", "ctypes"),
}
"""Modules that run, or can run, what is in a file."""
ADMITTED = {("fitting/original/torch_zip.py", "pickletools")}
"""The reader of state dictionaries takes the list of a pickle's instructions, and runs none."""
CALLS = {"eval", "exec", "compile", "__import__", "system", "popen", "extractall", "extract"}
METHODS_OF_OTHERS = {("re", "compile"), ("platform", "system")}


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def imported(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name.split(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.level == 0:
        return {(node.module or "").split(".")[0]}
    return set()


def called(node: ast.Call) -> tuple[str, str]:
    """What a call is of: the name before the last dot, and the one after."""
    function = node.func
    if isinstance(function, ast.Attribute):
        owner = function.value
        return (owner.id if isinstance(owner, ast.Name) else "", function.attr)
    return "", function.id if isinstance(function, ast.Name) else ""


def keywords(node: ast.Call) -> dict[str | None, object]:
    return {word.arg: getattr(word.value, "value", None) for word in node.keywords}


def faults(name: str, tree: ast.Module) -> Iterator[str]:
    """What in a module could run or believe a file."""
    for node in ast.walk(tree):
        for module in imported(node) & (RUNS_CODE | {"pickletools"}):
            if (name, module) not in ADMITTED:
                yield f"{name} imports {module}"
        if not isinstance(node, ast.Call):
            continue
        owner, function = called(node)
        given = keywords(node)
        if function in CALLS and (owner, function) not in METHODS_OF_OTHERS:
            yield f"{name}:{node.lineno} calls {owner}.{function}"
        if given.get("shell") or given.get("allow_pickle"):
            yield f"{name}:{node.lineno} asks for a shell or a pickle"
        if (owner, function) == ("np", "load") and given.get("allow_pickle") is not False:
            yield f"{name}:{node.lineno} loads without allow_pickle=False"
        if (owner, function) == ("zarr", "open_group") and given.get("zarr_format") != 3:
            yield f"{name}:{node.lineno} opens Zarr of any version"


def test_the_package_runs_nothing_of_a_file() -> None:
    assert [fault for name, tree in trees() for fault in faults(name, tree)] == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from torch import load",
        "eval(text)",
        "os.system(text)",
        "run(text, shell=True)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "archive.extractall(folder)",
        "zarr.open_group(path, mode='r')",
        "import pickletools",
    ],
)
def test_the_search_finds_what_it_looks_for(code: str) -> None:
    assert list(faults("x.py", ast.parse(code)))


# --- out of the folder ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def inner(tmp_path: Path) -> Path:
    """A folder with a neighbour that nobody may touch."""
    (tmp_path / "neighbour").mkdir()
    (tmp_path / "neighbour" / "zarr.json").write_text("private")
    (tmp_path / "inner").mkdir()
    return tmp_path / "inner"


NAMES = ["../neighbour/zarr.json", "/../neighbour/zarr.json", "a/../../neighbour/zarr.json"]


@pytest.mark.parametrize("name", NAMES)
def test_members_of_zip_files_go_nowhere(name: str, world: World, inner: Path) -> None:
    """They are read by name and never unpacked."""
    before = snapshot(inner.parent)
    path = rezipped(world.model, inner / "m.zip", {name: b"evil"})
    load_model(path)
    open_grid(rezipped(world.grid, inner / "g.npz", {name: b"evil"}))
    path.unlink()
    (inner / "g.npz").unlink()
    assert snapshot(inner.parent) == before


LINKS = ["nodes", "nodes/1", "nodes/1/flux", "nodes/1/flux/c/0", "rounds"]


@pytest.mark.parametrize("place", LINKS)
@pytest.mark.parametrize("open_", [open_archive, open_grid], ids=["archive", "grid"])
def test_a_link_in_a_folder_is_refused(place: str, open_, world: World, inner: Path) -> None:
    clones = copied(world.clones if open_ is open_archive else world.zarr, inner / "c.zarr")
    target = clones / place
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        target.rename(inner / "aside")
    else:
        target.unlink(missing_ok=True)
    target.symlink_to(inner.parent / "neighbour")
    before = snapshot(inner.parent)
    with pytest.raises((ArchiveError, GridError), match=f"holds the link {place}"):
        open_(clones)
    assert snapshot(inner.parent) == before


def test_an_archive_that_is_reached_by_a_link_is_open(world: World, inner: Path) -> None:
    """Where to look is for the user to say."""
    (inner / "here.zarr").symlink_to(world.clones)
    assert len(open_archive(inner / "here.zarr")) == 4


def test_an_output_that_is_a_link_leaves_alone_what_it_leads_to(inner: Path) -> None:
    target = inner.parent / "neighbour" / "zarr.json"
    (inner / "out.npz").symlink_to(target)
    with replacing(inner / "out.npz") as partial:
        partial.write_text("new")
    assert target.read_text() == "private"
    assert (inner / "out.npz").read_text() == "new"


def test_a_folder_of_labels_and_a_device_are_no_outputs(inner: Path) -> None:
    import os

    os.mkfifo(inner / "pipe")
    for path in (inner / "pipe", inner.parent / "neighbour", Path("."), inner / "no" / "x"):
        with pytest.raises(blase3d.InputError):
            require_writable(path)
    require_writable(inner / "new")


@pytest.mark.long
def test_keys_of_labels_are_no_paths(world: World, inner: Path) -> None:
    """Labels called like paths, tags or markup stay inside of what is written."""
    names = np.array(["teff", "../../neighbour/x", "<script>alert(1)</script>"])
    grid = open_grid(npz(world.grid, inner / "g.npz", label_names=names))
    before = snapshot(inner.parent / "neighbour")
    blase3d.save_model(model_of(grid), inner / "m.zip")
    model = load_model(inner / "m.zip")
    labels = dict(zip(model.label_names, (5700.0, 4.2, 0.0), strict=True))
    flux = np.asarray(model.flux(**labels))
    star = Spectrum(model.wavelength, flux, flux / 100, resolution=1e5)
    answer = blase3d.infer(star, model, fixed={"rv": 0.0, "vsini": 0.0})
    write_report(inner / "r.html", answer, model, "<script>alert(2)</script>", "</script><b>")
    page = (inner / "r.html").read_text()
    assert "<script>alert" not in page
    assert "</script><b>" not in page
    assert snapshot(inner.parent / "neighbour") == before
    assert {path.name for path in inner.iterdir()} == {"g.npz", "m.zip", "r.html"}


def test_no_store_reads_a_file_above_its_folder(world: World, inner: Path) -> None:
    """A hostile description cannot name an array elsewhere: names are ours."""
    clones = copied(world.clones, inner / "c.zarr")
    with zipfile.ZipFile(world.model) as archive:
        content = json.loads(archive.read("area/zarr.json"))
    content["chunk_key_encoding"] = {"name": "default", "configuration": {"separator": "/../"}}
    path = rezipped(world.model, inner / "m.zip", {"area/zarr.json": json.dumps(content).encode()})
    with pytest.raises(ArchiveError):
        load_model(path)
    described = clones / "nodes" / "1" / "flux" / "zarr.json"
    content = json.loads(described.read_text())
    content["chunk_key_encoding"] = {"name": "default", "configuration": {"separator": "/../"}}
    described.write_text(json.dumps(content))
    assert not open_archive(clones).is_done(1)
