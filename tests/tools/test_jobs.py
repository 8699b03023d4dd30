"""The queue, with a synthesiser that is a formula."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from synthesis.atmospheres import Atmospheres, key_of
from synthesis.described import RVS, HeldOut, Labels, Part
from synthesis.jobs import Store, held_out, ordered, plan, progress, through, work
from synthesis.packages import PreparationError
from synthesis.turbospectrum import TOLERANCE, Computed, Hole, checked

NODES: list[Labels] = [(5000.0, 4.0, 0.0), (5250.0, 4.0, 0.0), (5500.0, 4.0, 0.0)]


def compute(labels: Labels) -> Computed:
    if labels[0] == 5250:
        raise Hole("no MARCS model")
    return np.full((2, 3), labels[0], np.float32)


def test_spectra_and_holes_are_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert work(NODES, store, compute) == 3
    assert store.spectrum(NODES[0]).tolist() == [[5000.0] * 3] * 2
    assert store.spectrum(NODES[1]) is None
    assert store.hole(NODES[1]) == "no MARCS model"
    assert store.hole(NODES[0]) is None


def test_nothing_is_done_twice(tmp_path: Path) -> None:
    store = Store(tmp_path)
    work(NODES[:1], store, compute)
    asked: list[Labels] = []

    def remember(labels: Labels) -> Computed:
        asked.append(labels)
        return compute(labels)

    assert work(NODES, Store(tmp_path), remember) == 2
    assert asked == NODES[1:]
    assert work(NODES, store, remember) == 0


def test_claims_of_others_are_respected(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.claim(NODES[0]) as mine:
        assert mine
        with store.claim(NODES[0]) as theirs:
            assert not theirs
        assert work(NODES, store, compute) == 2
    assert not store.done(NODES[0])
    assert work(NODES, store, compute) == 1


def test_a_spectrum_finished_by_another_worker_is_not_claimed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save(NODES[0], compute(NODES[0]))
    with store.claim(NODES[0]) as mine:
        assert not mine


def _claim_and_wait(folder: Path) -> None:
    with Store(folder).claim(NODES[0]):
        (folder / "claimed").touch()
        time.sleep(60)


def test_claims_of_killed_processes_are_taken_over(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_claim_and_wait, args=(tmp_path,))
    process.start()
    try:
        limit = time.monotonic() + 30
        while not (tmp_path / "claimed").exists() and time.monotonic() < limit:
            time.sleep(0.02)
        assert work(NODES, Store(tmp_path), compute) == 2
        os.kill(process.pid or 0, signal.SIGKILL)
    finally:
        process.kill()
        process.join()
    assert work(NODES, Store(tmp_path), compute) == 1


def test_a_failure_leaves_the_spectrum_to_be_computed_again(tmp_path: Path) -> None:
    def full(labels: Labels) -> Computed:
        raise OSError("no space left on device")

    store = Store(tmp_path)
    with pytest.raises(OSError, match="no space"):
        work(NODES, store, full)
    assert not store.done(NODES[0])
    assert work(NODES, store, compute) == 3


def test_partial_results_do_not_count(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.spectrum_path(NODES[0]).with_suffix(".partial").write_bytes(b"\x93NUMPY")
    assert not store.done(NODES[0])


def test_no_spectrum_is_begun_after_the_deadline(tmp_path: Path) -> None:
    times = iter([1.0, 2.0, 3.0])
    assert work(NODES, Store(tmp_path), compute, 2.5, lambda: next(times)) == 2


def all_atmospheres() -> Atmospheres:
    structure = np.ones((56, 5))
    nodes = {
        key_of(t, g, z / 4): structure
        for t in range(3500, 8001, 250)
        for g in np.arange(0, 5.1, 0.5)
        for z in range(-10, 3)
    }
    return Atmospheres(nodes)


def test_the_plan_has_every_spectrum_once() -> None:
    batches = plan(RVS, all_atmospheres())
    assert [batch.name for batch in batches] == [
        "held-out",
        "coarse",
        "main",
        "metal-poor",
        "hot",
        "low-gravity",
        "cool",
        "alpha",
        "cool-alpha",
        "wide",
        "rest",
    ]
    labels = ordered(batches)
    assert len(labels) == len(set(labels))
    assert set(labels) == set(RVS.nodes()) | set(batches[0].labels)
    assert batches[1].labels == tuple(RVS.nodes(RVS.parts[0]))


def test_held_out_points_lie_between_nodes_and_repeat() -> None:
    points = held_out(RVS, all_atmospheres())
    assert points == held_out(RVS, all_atmospheres())
    count = sum(sample.count for sample in RVS.held_out)
    alphas = [0.0] * count + [0.4] * count + [0.2] * count + [0.1] * count
    assert [p[3] for p in points] == alphas
    assert [p[:3] for p in points[:count]] == [p[:3] for p in points[count : 2 * count]]
    for name, column in zip(("teff", "logg", "feh"), np.transpose(points), strict=False):
        assert not set(column[:3].tolist()) & set(RVS.axes[name])


def test_held_out_points_avoid_cells_with_holes() -> None:
    structures = dict(all_atmospheres().structures)
    for key in [k for k in structures if k[0] > 6000]:
        del structures[key]
    points = held_out(RVS, Atmospheres(structures))
    assert max(p[0] for p in points) < 6000


def test_progress_counts_and_estimates(tmp_path: Path) -> None:
    store = Store(tmp_path)
    batches = plan(RVS, all_atmospheres())
    work(batches[0].labels[:10], store, lambda labels: np.ones((2, 3), np.float32))
    store.save_hole(batches[1].labels[0], "no MARCS model")
    now = progress(batches, store)
    assert now.batches[:2] == (("held-out", 10, 112), ("coarse", 1, 240))
    assert (now.done, now.total, now.holes) == (11, 112 + len(RVS.nodes()), 1)
    assert now.text((now.total - 11) / 3600).endswith("1 of them holes; about 1.0 h left")
    assert now.text(0.0).endswith("1 of them holes")


def test_valid_spectra_pass() -> None:
    spectrum = np.array([[1.0, 0.5, 1.0], [2.0, 1.0, 2.0]])
    assert checked(spectrum, 3).dtype == np.float32


@pytest.mark.parametrize(
    ("value", "pixels", "reason"),
    [
        (1.0, 4, "shape"),
        (np.nan, 3, "finite"),
        (0.0, 3, "positive"),
        (1.0 + 2 * TOLERANCE, 3, "exceeds the continuum"),
    ],
)
def test_invalid_spectra_are_holes(value: float, pixels: int, reason: str) -> None:
    with pytest.raises(Hole, match=reason):
        checked(np.array([[1.0, value, 1.0], [2.0, 1.0, 2.0]]), pixels)


def test_samples_and_parts_are_records() -> None:
    with pytest.raises(AttributeError):
        HeldOut(1, {}, 0).count = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        Part("x", {}).name = "y"  # type: ignore[misc]


def test_a_computation_can_end_after_a_part() -> None:
    batches = plan(RVS, all_atmospheres())
    assert [batch.name for batch in through(batches, "main")] == ["held-out", "coarse", "main"]
    assert through(batches, None) == batches
    with pytest.raises(PreparationError, match="expected one of held-out, coarse"):
        through(batches, "giants")
