"""The figure of helpful and harmful training groups."""

from __future__ import annotations

import numpy as np
import pandas as pd

from workbench.lenses.influence_figure import HARM, HELP, ROWS, influence_figure
from workbench.lenses.palette import UNKNOWN, faded


def table(means: dict[str, float], half: float = 1.0, usual: float = 0.0) -> pd.DataFrame:
    rows = [(name, "worst", 10, 10 * mean, mean, mean - half, mean + half, usual) for name, mean in means.items()]
    rows += [(name, "other", 10, 0.0, 0.0, -half, half, usual) for name in means]
    return pd.DataFrame(rows, columns=["source", "group", "n", "total", "mean", "low", "high", "usual"])


def test_the_most_harmful_comes_first_and_colours_say_what_can_be_told():
    first, second = {"good": 3.0, "bad": -4.0, "none": 0.5}, {"good": 2.0, "bad": -0.5, "none": -2.0}
    fig = influence_figure({"left out": table(first), "traced": table(second)}, "worst")
    assert [list(trace.y) for trace in fig.data] == [["bad", "none", "good"]] * 2
    assert list(fig.data[0].marker.color) == [HARM, UNKNOWN, HELP]
    assert list(fig.data[1].x) == [-0.5, -2.0, 2.0]
    np.testing.assert_allclose(fig.data[0].error_x.array, 1.0)


def test_of_many_groups_the_most_harmful_and_the_most_helpful_are_shown():
    fig = influence_figure({"left out": table({f"g{i}": float(i) for i in range(40)})}, "worst")
    assert list(fig.data[0].y) == [*(f"g{i}" for i in range(ROWS - 1)), "g39"]


def test_a_group_like_all_others_does_not_stand_out():
    fig = influence_figure({"left out": table({"a": -4.0, "b": -6.5}, usual=-5.0)}, "worst")
    assert list(fig.data[0].marker.color) == [HARM, UNKNOWN]


def test_a_group_that_helps_less_than_the_mean_is_pale():
    fig = influence_figure({"left out": table({"a": 4.0, "b": 6.5, "c": 9.0}, usual=6.0)}, "worst")
    assert list(fig.data[0].marker.color) == [faded(HARM, 0.45), UNKNOWN, HELP]
