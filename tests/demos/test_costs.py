"""Costs beside the board: pairing by seed, the relative gain, the file, and the committed points."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.core import ConfigError, WorkbenchError
from workbench.demos import RECIPES, Recipe, Variant
from workbench.demos.board import find_rows, read_board
from workbench.demos.costs import FOLDER, points_of, read_costs, write_costs
from workbench.demos.recipe import Plane

PLANE = Plane(("shared", "alone"), "score", {"flops": "operations"}, reference="alone")
RECIPE = Recipe("coin", "?", "", (Variant("shared", "", 1), Variant("alone", "", 1)), plane=PLANE)


def results(first, second, flops):
    return {"score": (first + second) / 2, "score/a": first, "score/b": second, "score on others": 9.0, "flops": flops}


TRAINED = {
    2: {"shared": results(0.4, 0.9, 10.0), "alone": results(0.5, 0.6, 20.0)},
    1: {"shared": results(0.5, 0.6, 10.0), "alone": results(0.5, 0.6, 20.0)},
    3: {"shared": results(0.9, 0.9, 10.0)},
}


def test_points_pair_by_seed_and_take_gains_against_the_reference():
    shared, alone = points_of(RECIPE, TRAINED)
    assert shared.seeds == alone.seeds == (1, 2)  # seed 3 lacks the reference
    assert shared.costs == {"flops": (10.0, 10.0)}
    assert shared.score == pytest.approx((0.55, 0.65))
    assert shared.delta == pytest.approx((0.0, 100 * (-0.1 / 0.5 + 0.3 / 0.6) / 2))
    assert alone.delta == (0.0, 0.0)


def test_points_are_read_as_they_were_written(tmp_path):
    points = points_of(RECIPE, TRAINED)
    write_costs(tmp_path, RECIPE, points)
    assert read_costs("coin", tmp_path) == points
    assert read_costs("dice", tmp_path) == []
    write_costs(tmp_path, RECIPE, [])  # nothing trained: what is there stays
    assert read_costs("coin", tmp_path) == points


@pytest.mark.parametrize("text", ["{", "[1]", '[{"variant": "x"}]', '[{"costs": 3}]'])
def test_a_damaged_file_is_named_with_its_remedy(tmp_path, text):
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "coin.json").write_text(text)
    with pytest.raises(WorkbenchError, match=r"coin\.json does not hold the costs .* workbench claims coin"):
        read_costs("coin", tmp_path)


def test_recipes_without_a_plane_have_no_points_and_a_plane_knows_its_variants():
    assert points_of(Recipe("plain", "?", "", RECIPE.variants), TRAINED) == []
    assert points_of(RECIPE, {}) == []
    with pytest.raises(ConfigError, match="no variant 'gone'"):
        Recipe("odd", "?", "", RECIPE.variants, plane=Plane(("gone",), "score", {}, "alone"))


def test_the_committed_points_are_those_of_the_board():
    for recipe in (recipe for recipe in RECIPES if recipe.plane):
        points = {point.variant: point for point in read_costs(recipe.name)}
        assert tuple(points) == recipe.plane.variants
        assert {point.seeds for point in points.values()} == {recipe.seeds}
        for row in find_rows(read_board(), recipe.name):
            if row.result == recipe.plane.score and set(row.variants) <= set(points):
                ahead, behind = (np.array(points[name].score) for name in row.variants)
                assert 100 * (ahead - behind) == pytest.approx(np.array(row.differences))
