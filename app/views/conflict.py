"""Do my tasks fight?"""

from __future__ import annotations

import streamlit as st

import hover
import remedy
import selection
from frame import lens_page
from widgets import one_of, step_or_all, switch
from workbench.lenses.conflict import Conflict
from workbench.lenses.conflict.chosen import chosen_task, chosen_words


def how_many(found: Conflict) -> dict[str, bool]:
    """Offered where some steps were passed over."""
    hint = "Reading them all takes minutes and memory; the numbers get narrower intervals."
    return {"every_step": switch("Read every step", "every_step", hint=hint)} if found.steps_read else {}


page = lens_page("conflict", how_many)
stats: Conflict = page.stats
ranked = stats.ranking.tolist()
if page.selected is not None:
    held = selection.about(page.run, page.selected)
    selection.explain(page.run, page.selected, chosen_words(stats.tasks, held))
    own = chosen_task(stats.tasks, held)
    ranked.sort(key=lambda pair: own not in [stats.tasks[i] for i in stats.pairs[pair]])  # its pairs first
pairs = [stats.pair_name(pair) for pair in ranked]

with st.sidebar:
    # The last module is all of them together: what to look at first.
    module = one_of("Module", [stats.modules[-1], *stats.modules[:-1]], "module")
    pair = one_of("Pair of tasks", pairs, "pair", hint="The pair with the most evidence first.") if pairs else None
    naive = switch(
        "Naive cosine too",
        "naive",
        hint="Above the diagonal, the cosine of the whole batch's gradients: noise that the tasks share biases it.",
    )
with page.controls:
    at = step_or_all(stats.steps.tolist())
if stats.steps_read:
    st.caption(stats.steps_read)


def budget() -> int:
    return int(one_of("Networks at most", list(range(1, len(stats.tasks) + 1)), "budget", first=2))


page.main(step=at, module=module, naive=naive)


def measured() -> bool:
    return stats.trials is not None and switch(
        "True steps", "measured", hint="What trial steps really did to the losses, instead of the first-order estimate."
    )


page.further(step=at, module=module, pair=pair, naive=naive, budget=budget, measured=measured)
remedy.panel(page.run, stats)


def follow(pair: str) -> None:
    """Make a clicked pair of tasks the one that the views below are about."""
    if pair in pairs:
        st.session_state["pair"] = pair


hover.pictures(page.run, (), follow)
