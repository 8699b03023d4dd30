"""Line lists in Turbospectrum's form, from small lists with known lines."""

from __future__ import annotations

import pytest

from synthesis.linelists import MOLECULES, WEAKEST, atoms, hydrogen, molecular

ATOMS = """' 20.000             '    1        3
'Ca I   LTE'
 8400.000  1.000  -1.000  0.000  2.0  1.0E+08 's' 'p'
 8498.000  1.000  -1.000  0.000  2.0  1.0E+08 's' 'p'
 8600.000  1.000  -1.000  0.000  2.0  1.0E+08 's' 'p'
' 26.000             '    1        1
'Fe I   LTE'
 9000.000  1.000  -1.000  0.000  2.0  1.0E+08 's' 'p'
"""


def test_atoms_are_cut_and_counted() -> None:
    text = atoms(ATOMS.splitlines(), 8450, 8700).splitlines()
    assert text[0].split() == ["'", "20.000", "'", "1", "2"]
    assert [line.split()[0] for line in text[2:]] == ["8498.000", "8600.000"]
    assert len(text) == 4  # iron has no line here


def test_a_block_of_two_forms_is_refused() -> None:
    mixed = ATOMS.replace("8600.000  1.000", "8600.000  0.5 1.000")
    with pytest.raises(ValueError, match="Ca I"):
        atoms(mixed.splitlines(), 8450, 8700)


def test_molecules_are_sorted_and_weak_lines_left_out() -> None:
    lines = [
        "8500.0 607.01214 1.0 -1.0",
        "8460.0 607.01214 1.0 -2.0",
        "8470.0 607.01314 1.0 -1.0",  # another isotope
        f"8480.0 607.01214 1.0 {-1.0 - WEAKEST - 0.1}",
        "9000.0 607.01214 1.0 5.0",
    ]
    text = molecular("12C14N", MOLECULES["12C14N"], lines, 8450, 8700).splitlines()
    assert text[0].startswith("'0607.012014 ")
    assert text[0].split()[-1] == "2"
    assert [line.split()[0] for line in text[2:]] == ["8460.000", "8500.000"]


def test_extrapolated_lines_of_ch_are_left_out() -> None:
    lines = [
        "5500.0 106.00112 1.0 -1.0 3.4 AX24R305",
        "5510.0 106.00112 1.0 1.5 3.4 AX13Q315",
        "5520.0 106.00112 1.0 1.5 3.4 BX02P215",
    ]
    text = molecular("12CH", MOLECULES["12CH"], lines, 5000, 6000).splitlines()
    assert [line.split()[0] for line in text[2:]] == ["5500.000"]


def test_a_molecule_without_lines_has_an_empty_block() -> None:
    text = molecular("FeH", MOLECULES["FeH"], [], 8450, 8700)
    assert text.splitlines()[0].split()[-1] == "0"


def test_hydrogen_has_one_series() -> None:
    head = ["'01.000000 ' 1 3", "'H I'"]
    rows = ["3889.0 2 8 10.2", "6562.8 2 3 10.2", "8502.5 3 16 12.1"]
    assert hydrogen(head + rows, 3).splitlines()[2:] == rows[2:]
    assert hydrogen(head + rows, 2).splitlines()[2:] == rows[1:2]
