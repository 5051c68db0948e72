"""Who is the model wrong about?"""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from frame import Options, lens_page
from widgets import one_of, some_of, step
from workbench.lenses.bias.depth_figures import MEASURES, METRICS
from workbench.lenses.bias.statistics import Bias

#: Leaves the choice of a factor to the figure.
HARMED = "most harmed"
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


def row() -> str | None:
    chosen = one_of("Rows", [HARMED, *names], "row")
    return None if chosen == HARMED else chosen


def column() -> str | None:
    chosen = one_of("Columns", [HARMED, *(name for name in names if name != st.session_state.get("row"))], "column")
    return None if chosen == HARMED else chosen


def factor() -> str | None:
    worst = [str(name) for name in stats.spread["factor"]] or names
    return one_of("Factor", worst, "factor") if worst else None


def threshold() -> float | None:
    """A score between the lowest and the highest; at first the one that lets the main share of impostors pass."""
    found = stats.verified
    if found is None:
        return None
    scores = found.histograms["score"]
    low, high = float(np.floor(scores.min())), float(np.ceil(scores.max()))  # -1 and 1 for cosines, whatever the run
    first = round(found.thresholds[found.rate], 2)
    return float(st.slider("Threshold", low, high, first, 0.01, key="threshold", bind="query-params"))


orders = [order for order in ORDERS if (stats.groups["order"] == order).any()] or [1]
with page.controls:
    order = one_of("Groups of", orders, "order", name=lambda order: ORDERS[order])
page.main(order=order, limit=12)
page.further(
    row=row,
    column=column,
    factor=factor,
    threshold=threshold,
    measure=lambda: one_of("Metric", list(METRICS), "measure", name=METRICS.__getitem__),
    measures=lambda: one_of(
        "Measures", ["all", *MEASURES], "measures", name=lambda key: MEASURES.get(key, "the main four")
    ),
)
