"""The command: its options, the patches of the source, and the text that the code is given."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from compute_library import deadline, main
from synthesis.atmospheres import Atmospheres, key_of
from synthesis.described import RVS
from synthesis.packages import PATCHES, PreparationError, apply_patch
from synthesis.turbospectrum import Hole, Synthesiser

HYDROPAC = """        do l=lpos,maxlam
          if (.not.ldone(l).and..not.lskip) then
!  print
            lskip=.true.
            do k=1,ntau
              call hbop
            enddo
          endif
        enddo
        do l=lpos-1,1,-1
          if (.not.ldone(l).and..not.lskip) then
            lskip=.true.
            do k=1,ntau
"""


def test_deadline_is_the_next_time_of_day() -> None:
    now = datetime(2026, 11, 28, 17, 30)
    assert deadline("18:05", now) == datetime(2026, 11, 28, 18, 5).timestamp()
    assert deadline("17:05", now) == datetime(2026, 11, 29, 17, 5).timestamp()
    assert deadline(None) == float("inf")


def test_an_unknown_library_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["infrared", "--cache", "x"])
    assert stop.value.code == 2
    assert "rvs" in capsys.readouterr().err


def test_loops_over_hydrogen_are_exchanged(tmp_path: Path) -> None:
    (patch,) = (p for p in PATCHES if p.file.endswith("hydropac.f"))
    (tmp_path / "source").mkdir()
    (tmp_path / patch.file).write_text(HYDROPAC)
    apply_patch(patch, tmp_path)
    loops = [line.strip() for line in (tmp_path / patch.file).read_text().splitlines()]
    assert [x for x in loops if x.startswith("do")] == [
        "do k=1,ntau",
        "do l=lpos,maxlam",
        "do k=1,ntau",
        "do l=lpos-1,1,-1",
    ]


def test_a_patch_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / PATCHES[0].file).write_text("lpoint=2")
    with pytest.raises(PreparationError, match="matches 0 times, expected 1"):
        apply_patch(PATCHES[0], tmp_path)


PROGRAM = """#!/bin/sh
cat > given
if [ "$(basename $0)" = bsyn_lu ]; then
  awk 'BEGIN {for (i = 0; i <= 15200; i++) print 8428 + 0.02 * i, 0.9, 1e5}' > out
  grep -q "'ALPHA/Fe   :' '0.400'" given || exit 3
fi
"""


@pytest.fixture
def synthesiser(tmp_path: Path) -> Synthesiser:
    for name in ("babsma_lu", "bsyn_lu"):
        (tmp_path / name).write_text(PROGRAM)
        (tmp_path / name).chmod(0o755)
    atmospheres = Atmospheres({key_of(5000, 4, 0): np.ones((56, 5))})
    return Synthesiser(RVS, atmospheres, tmp_path, tmp_path, [tmp_path / "H.list"], tmp_path)


def test_the_codes_are_run_and_their_padding_is_cut(synthesiser: Synthesiser) -> None:
    spectrum = synthesiser((5000.0, 4.0, 0.0, 0.4))
    assert spectrum.shape == (2, RVS.pixels)
    assert spectrum[:, 0] == pytest.approx([0.9, 1e5])
    assert not list(synthesiser.scratch.glob("spectrum-*"))


def test_a_code_that_fails_makes_a_hole(synthesiser: Synthesiser) -> None:
    with pytest.raises(Hole, match="bsyn_lu failed with status 3"):
        synthesiser((5000.0, 4.0, 0.0, 0.0))


def test_a_missing_atmosphere_is_a_hole(synthesiser: Synthesiser) -> None:
    with pytest.raises(Hole, match="no MARCS model"):
        synthesiser((5100.0, 4.0, 0.0, 0.0))
