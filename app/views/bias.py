"""Who is the model wrong about?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

import hover
import parts
import selection
from bins import bins
from frame import Options, lens_page
from widgets import one_of, some_of, step, switch
from workbench.lenses.bias.class_figures import RATES
from workbench.lenses.bias.depth_figures import MEASURES, METRICS
from workbench.lenses.bias.members import chosen_group, chosen_words, group_members, pocket_members
from workbench.lenses.bias.metrics import MAX_ROWS
from workbench.lenses.bias.sample_metrics import METRICS as JUDGED_BY
from workbench.lenses.bias.sample_metrics import of_one_class
from workbench.lenses.bias.statistics import Bias

#: Leaves the choice of a factor to the figure.
HARMED = "most harmed"
#: Does not single out a class.
ALL_CLASSES = "all classes"
#: Groups offered to be selected, the most harmed first.
OFFERED = 200
ORDERS = {1: "one factor", 2: "two factors", 3: "three factors"}


def choose(stats: Bias) -> Options:
    """Which predictions are judged, and by which factors."""
    options: dict[str, Any] = {}
    with st.sidebar:
        options["task"] = one_of("Task", stats.tasks, "task")
        if len(stats.splits) > 1:
            first = stats.split or "all"
            options["split"] = one_of("Split", [first, *({*stats.splits, "all"} - {first})], "split")
        options |= judged_by(stats)
        default = [factor.name for factor in stats.factors]
        chosen = some_of("Factors", stats.available, default, "factors", hint="What samples are grouped by.")
        if chosen != default:
            options["factors"] = tuple(chosen)
        options |= bins(stats.factors)
        if stats.n > MAX_ROWS and switch("Count classes too", "details", hint="Takes longer on so many predictions."):
            options["details"] = True
    options["step"] = step(stats.steps)
    return options


def judged_by(stats: Bias) -> Options:
    """What each sample is judged by: all of it, or one class of it."""
    options: dict[str, Any] = {}
    if stats.classes:
        label = one_of("Class", [ALL_CLASSES, *stats.classes], "label", hint="One class alone, or all of them.")
        options["label"] = None if label == ALL_CLASSES else label
    offered = stats.choices if options.get("label") is None else of_one_class(stats.choices)
    if len(offered) > 1:
        options["metric"] = one_of("Judged by", offered, "metric", name=lambda name: JUDGED_BY[name].title)
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


def rate() -> str:
    return str(one_of("Rate", list(RATES), "rate", name=RATES.__getitem__, first="iou" if stats.classes else "tpr"))


def groups(order: int) -> dict[str, Callable[[], list[int]]]:
    """Groups of so many factors and pockets of the embedding, with what finds their samples."""
    rows = stats.groups.loc[stats.groups["order"] == order, "group"].head(OFFERED)
    found: dict[str, Callable[[], list[int]]] = {
        str(group): partial(group_members, page.run, stats, str(group)) for group in rows
    }
    if stats.pockets is not None:
        for number, typical in zip(stats.pockets.found["pocket"], stats.pockets.found["typical"], strict=True):
            about = f", mostly {typical}" if typical else ""
            found[f"pocket {number} of {stats.pockets.layer}{about}"] = partial(pocket_members, stats, int(number))
    return found


def row_of_selection() -> pd.DataFrame:
    if page.selected is None:
        return pd.DataFrame()
    return chosen_group(page.run, stats, page.selected.samples, "Selection")


orders = [order for order in ORDERS if (stats.groups["order"] == order).any()] or [1]
with page.controls:
    order = one_of("Groups of", orders, "order", name=lambda order: ORDERS[order])
    selection.offer("Select", groups(order), page.run, f"bias, {stats.task}, step {stats.step}")
selected = row_of_selection()
page.main(order=order, limit=12, selected=selected)
if page.selected is not None:
    if len(selected):
        st.markdown(parts.plain(chosen_words(stats, selected.iloc[0].to_dict())))
    else:
        st.caption("None of the selected samples has an answer here.")
    selection.pictures(page.run, page.selected, names)
page.further(
    row=row,
    column=column,
    factor=factor,
    threshold=threshold,
    rate=rate,
    measure=lambda: one_of("Metric", list(METRICS), "measure", name=METRICS.__getitem__),
    measures=lambda: one_of(
        "Measures", ["all", *MEASURES], "measures", name=lambda key: MEASURES.get(key, "the main four")
    ),
)


def take(group: str) -> None:
    """Make the samples of a clicked cell the selection."""
    if group in set(stats.groups["group"]):
        words = f"{group} (bias, {stats.task}, step {stats.step})"
        selection.select(page.run, group_members(page.run, stats, group), words)


hover.pictures(page.run, tuple(names), take)
