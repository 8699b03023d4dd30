"""Figures as elements of a page."""

import re
import xml.etree.ElementTree as ElementTree

import matplotlib
from matplotlib.figure import Figure

from blase3d.views.svg import RC, svg_element


def element(description="a <figure>"):
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(2.0, 1.0))
        axes = figure.subplots()
        axes.plot([0.0, 1.0], [0.25, 0.5], color="#D55E00")
        axes.set_title("$0.123456 <b>")
    return svg_element(figure, description, {"#D55E00": "--model"})


def test_an_element_has_the_colours_of_the_page_and_its_text():
    drawn = element()
    root = ElementTree.fromstring(drawn.replace("<svg ", '<svg xmlns:xlink="x" ', 1))
    assert root.attrib["aria-label"] == root.find("title").text == "a <figure>"
    assert "$0.123456 <b>" in [text.text for text in root.iter("text")]
    assert "stroke: var(--model)" in drawn
    assert "#d55e00" not in drawn
    assert "font-family" not in drawn


def test_elements_are_short_and_equal_again():
    drawn = element()
    paths = re.findall(r' d="([^"]*)"', drawn)
    assert not re.search(r"\.\d\d", "".join(paths))
    assert drawn == element()


def test_identifiers_differ_between_the_elements_of_a_page():
    first, second = (set(re.findall(r'id="([^"]+)"', element(name))) for name in "ab")
    assert first
    assert not first & second
