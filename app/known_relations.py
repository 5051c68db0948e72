"""For drawn scenes, whose label spaces are sets of known concepts: how many of the found relations are right."""

from __future__ import annotations

import streamlit as st

import parts
from workbench.core import Run
from workbench.lenses.labels.statistics import Labels
from workbench.lenses.labels.truth import against_truth

#: Recipes that draw scenes.
RECIPES = ("scenes-two-datasets", "scenes-three-datasets")


def section(run: Run, stats: Labels) -> None:
    """One line with precision and recall, and the table behind it; nothing where the truth is not known."""
    if run.info.recipe not in RECIPES or not stats.pairs:
        return
    from workbench.demos.scenes import true_relations

    score = against_truth(stats.relations, true_relations(stats.datasets))
    said = [
        f"{score.n_right} of the {score.n_found} relations found are right (precision {_share(score.precision)})",
        f"{score.n_right} of the {score.n_known} that there are were found (recall {_share(score.recall)})",
        f"the kind is right of {score.n_kind_right}",
    ]
    st.markdown("**Against the truth**, which is known of drawn scenes: " + parts.plain("; ".join(said)) + ".")
    with st.expander("Found and true relations", icon=":material/fact_check:", key="truth", on_change="rerun") as shown:
        if shown.open:
            parts.tables({"Found and true relations": score.table}, f"{run.name}-truth")


def _share(share: tuple[float, float, float]) -> str:
    value, low, high = share
    return "not known" if value != value else f"{value:.0%}, 95 % interval {low:.0%} to {high:.0%}"
