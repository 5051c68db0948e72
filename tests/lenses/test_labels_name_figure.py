from __future__ import annotations

import pytest

from workbench.lenses.labels.name_figure import name_matrix
from workbench.lenses.labels.relations import by_names


@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")])
def test_names_stand_beside_the_names_most_like_them(order):
    spaces = {"one": ("sky", "traffic light", "car"), "two": ("Car", "Traffic Light", "tree", "Sky")}
    fig = name_matrix(by_names(spaces), *order)
    (heat,) = fig.data
    z = {(row, column): heat.z[i][j] for i, row in enumerate(heat.y) for j, column in enumerate(heat.x)}
    rows, columns = ("one", "two") if order == ("one", "two") else ("two", "one")
    assert set(heat.y) == set(spaces[rows])
    assert (fig.layout.yaxis.title.text, fig.layout.xaxis.title.text) == (rows, columns)
    twins = {"sky": "Sky", "traffic light": "Traffic Light", "car": "Car"}
    for a, b in twins.items():
        assert z[(a, b) if rows == "one" else (b, a)] == 1
    if rows == "one":
        assert [name for name in heat.x if name != "tree"] == ["Sky", "Traffic Light", "Car"]
        assert heat.text[0][list(heat.x).index("tree")] == ""
        assert heat.text[0][list(heat.x).index("Sky")] == "1.0"
