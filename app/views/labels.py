"""Do my datasets' label spaces agree?"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import streamlit as st

import known_relations
import label_space
import parts
import published_lists
import selection
from frame import Options, lens_page
from widgets import one_of, step
from workbench.lenses.labels.chosen_figure import chosen_labels
from workbench.lenses.labels.figures import RELATIONS
from workbench.lenses.labels.statistics import Labels
from workbench.lenses.makeup import annotated


def choose(stats: Labels) -> Options:
    """Which predictions are read, and from which share on a label counts as part of another."""
    options: dict[str, Any] = {}
    with st.sidebar.expander("Thresholds"):
        inside = st.slider(
            "Part of another from", 0.5, 0.95, stats.inside, 0.05, key="inside", bind="query-params",
            help="Share of a label, at the lower 95 % limit, that must lie in the other.",
        )  # fmt: skip
        overlap = st.slider("Overlap from", 0.05, 0.45, stats.overlap, 0.05, key="overlap", bind="query-params")
    options |= {"inside": inside, "overlap": overlap}
    if stats.steps:
        options["step"] = step(stats.steps)
    return options


published_lists.panel()
page = lens_page("labels", choose)
stats: Labels = page.stats
pairs = [(pair.dataset_a, pair.dataset_b) for pair in stats.pairs] or list(combinations(stats.datasets, 2))


def dataset() -> str | None:
    chosen = one_of("Dataset", ["all", *stats.datasets], "dataset")
    return None if chosen == "all" else chosen


def recorded() -> int | None:
    found = stats.relatedness
    return None if found is None else one_of("Cosines of step", list(found.steps), "recorded", first=found.shown)


def threshold() -> float | None:
    found = stats.relatedness
    if found is None:
        return None
    return st.slider(
        "τ", -1.0, 1.0, found.threshold, 0.01, key="tau", bind="query-params", width=320,
        help="A mean cosine must exceed τ, and that with the label's own output, to count as a relation.",
    )  # fmt: skip


shown: Options = {}
if len(pairs) > 1:
    with page.controls:
        names = {f"{a} and {b}": (a, b) for a, b in pairs}
        first, second = names[one_of("Datasets", list(names), "datasets")]
        shown = {"dataset_a": first, "dataset_b": second}
page.main(**shown)
if page.selected is not None:
    held = annotated(page.run, page.selected.samples)
    told = "Their annotation stands below." if len(held) else "None of them has an annotation in this run."
    selection.explain(page.run, page.selected, f"The figures above are about all samples. {told}")
    if len(held):
        parts.chart(chosen_labels(held), "labels chosen", "What the selected samples are annotated with.")
known_relations.section(page.run, stats)
label_space.editor(page.run, stats)
page.further(
    kinds=lambda: one_of("Relations", ["all", *RELATIONS], "kinds"),
    dataset=dataset,
    recorded=recorded,
    threshold=threshold,
    **shown,
)
