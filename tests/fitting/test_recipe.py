"""Recipes: groups of settings, changed by name, also by the names of version 5."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from blase3d.errors import RecipeError
from blase3d.recipe import DEFAULT, PAPER, SINGLE, JointFit, Recipe, SingleFit, recipe_from_json


def test_settings_are_changed_in_their_groups():
    recipe = DEFAULT.replace(rounds=0, prominence=0.1, composition="sum", interpolation="cubic")
    assert (recipe.joint.rounds, recipe.detection.prominence) == (0, 0.1)
    assert (recipe.composition, recipe.interpolation) == ("sum", "cubic")
    assert recipe.joint == replace(DEFAULT.joint, rounds=0)
    assert DEFAULT.replace(fit=SINGLE.fit).single == SINGLE.single
    assert DEFAULT.replace(residual=0.0).residual is None
    assert PAPER.replace(residual=1e-4).residual.tolerance == 1e-4


@pytest.mark.parametrize(
    ("recipe", "changes", "said"),
    [
        (DEFAULT, {"optimiser": "adam"}, "optimiser"),
        (SINGLE, {"window": 100}, "window"),
        (DEFAULT, {"rounds": -1}, "rounds=-1"),
        (DEFAULT, {"residual": 2.0}, "tolerance=2.0"),
        (DEFAULT, {"fit": "joint"}, "SingleFit, JointFit"),
        (DEFAULT, {"fit": {"kind": "both"}}, "'both'"),
        (DEFAULT, {"fit": {"kind": []}}, "single, joint"),
        (DEFAULT, {"fit": {"kind": "single", "window": 3}}, "window"),
        (DEFAULT, {"detection": {"rounds": 3}}, "rounds"),
        (DEFAULT, {"detection": 3, "distance": 3}, "Detection|distance"),
        (DEFAULT, {"catalogue": "none"}, "equality, joint"),
    ],
)
def test_settings_that_the_fit_does_not_have_are_refused(recipe, changes, said):
    with pytest.raises(RecipeError, match=said):
        recipe.replace(**changes)


def test_each_fit_is_asked_for_by_its_type():
    assert DEFAULT.joint is DEFAULT.fit
    assert SINGLE.single is SINGLE.fit
    with pytest.raises(RecipeError, match="each node by itself"):
        _ = PAPER.joint
    with pytest.raises(RecipeError, match="all nodes at once"):
        _ = DEFAULT.single


def test_settings_may_be_in_groups_in_a_file_or_not():
    grouped = {"name": "mine", "fit": {"kind": "single", "epochs": 3}, "residual": None}
    flat = {"name": "mine", "catalogue": "equality", "epochs": 3, "residual": 0, "modes": 5}
    mine = recipe_from_json(json.dumps(grouped))
    assert mine == DEFAULT.replace(name="mine", fit=SingleFit(epochs=3), residual=None)
    before = recipe_from_json(json.dumps(flat))
    assert before == mine.replace(rounds=3)  # as many as of a joint fit, in version 5
    assert recipe_from_json('{"modes": 7}').joint.smooth_functions == 7
    assert recipe_from_json('{"optimiser": "adam"}') == DEFAULT  # it had no effect


def test_settings_of_version_5_are_there_for_one_version():
    with pytest.warns(DeprecationWarning, match=r"recipe\.fit\.rounds"):
        assert DEFAULT.rounds == 3
    with pytest.warns(DeprecationWarning, match=r"recipe\.fit\.smooth_functions"):
        assert DEFAULT.modes == 30
    with pytest.warns(DeprecationWarning, match=r"recipe\.interpolation"):
        assert PAPER.manifold == "linear"
    with pytest.warns(DeprecationWarning, match="type"):
        assert PAPER.catalogue == "equality"
    with pytest.warns(DeprecationWarning, match="missing_ln_area"):
        assert DEFAULT.missing == -1000.0
    with pytest.warns(DeprecationWarning, match="replace"):
        recipe = replace(DEFAULT, rounds=0, firmness=0.1, residual=0.0)
    assert recipe == DEFAULT.replace(rounds=0, shape_ridge=0.1, residual=None)
    with pytest.warns(DeprecationWarning, match="tolerance is now cluster_width"):
        assert DEFAULT.replace(tolerance=2.0).joint.cluster_width == 2.0
    with pytest.warns(DeprecationWarning, match="catalogue"):
        single = Recipe("x", catalogue="equality")
    assert single.single == SingleFit(epochs=JointFit().epochs, rounds=JointFit().rounds)
    with pytest.raises(AttributeError, match="epoch"):
        _ = DEFAULT.epoch
