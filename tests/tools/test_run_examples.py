"""Printed outputs of examples are compared with stored ones: the words, and roughly the numbers."""

from __future__ import annotations

import pytest

from run_examples import differences

STORED = "least squares: logg 4.2 ± 0.17\n  rv -11.92 ± 0.45 (truth -12)\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [("4.2", "4.3"), ("0.17", "0.2"), ("-11.92", "-12.9"), ("  rv", "rv")],
)
def test_draws_may_differ_within_their_errors(old, new):
    assert differences(STORED.replace(old, new), STORED) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [("4.2", "6.2"), ("-11.92", "11.92"), ("0.17", "nan"), ("rv", "vsini"), (" (truth -12)", "")],
)
def test_other_words_and_other_numbers_are_named_by_their_line(old, new):
    (sentence,) = differences(STORED.replace(old, new), STORED)
    assert sentence.startswith("printed ")
    assert new in sentence


def test_a_missing_line_is_named():
    assert differences(STORED.splitlines()[0], STORED) == ["printed 1 lines, expected 2"]


def test_effective_numbers_of_draws_are_not_compared():
    row = "    teff_1   5770.04     40.32   5768.38   5734.16   5812.64    471.03      1.00"
    assert differences(row.replace("471.03", "261.95"), row) == []
    assert differences(row.replace("40.32", "80.32"), row)
    assert differences(row.replace("1.00", "1.40"), row)
