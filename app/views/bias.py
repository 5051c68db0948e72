"""Who is the model wrong about?"""

from __future__ import annotations

from typing import Any

import streamlit as st

from frame import Options, lens_page
from widgets import one_of, some_of, step
from workbench.lenses.bias.statistics import Bias

ORDERS = {1: "one factor", 2: "two factors", 3: "three factors"}


def choose(stats: Bias) -> Options:
    """Which predictions are judged, and by which factors."""
    options: dict[str, Any] = {}
    with st.sidebar:
        options["task"] = one_of("Task", stats.tasks, "task")
        if len(stats.splits) > 1:
            first = stats.split or "all"
            options["split"] = one_of("Split", [first, *({*stats.splits, "all"} - {first})], "split")
        default = [factor.name for factor in stats.factors]
        chosen = some_of("Factors", stats.available, default, "factors", hint="What samples are grouped by.")
        if chosen != default:
            options["factors"] = tuple(chosen)
    options["step"] = step(stats.steps)
    return options


page = lens_page("bias", choose)
stats: Bias = page.stats
names = [factor.name for factor in stats.factors]


def pair() -> Options:
    """Two factors, filled up by the lens where "most harmed" is left."""
    left, right = st.columns(2)
    with left:
        row = one_of("Rows", ["most harmed", *names], "row")
    with right:
        column = one_of("Columns", ["most harmed", *(name for name in names if name != row)], "column")
    return {key: value for key, value in (("row", row), ("column", column)) if value != "most harmed"}


def factor() -> Options:
    worst = [str(name) for name in stats.spread["factor"]] or names
    return {"factor": one_of("Factor", worst, "factor")} if worst else {}


orders = [order for order in ORDERS if (stats.groups["order"] == order).any()] or [1]
with page.controls:
    order = one_of("Groups of", orders, "order", name=lambda order: ORDERS[order])
page.main(order=order, limit=12)
page.further({"pairs": pair, "training": factor})
