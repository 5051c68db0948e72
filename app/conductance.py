"""Through which units of a layer do the tasks' answers come? A part of the attribution page."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

import parts
from asked import Asked
from maps import POINTS, asked_of, chosen_samples, interval
from widgets import one_of, some_of
from workbench.core import Run
from workbench.lenses.conductance_figure import UNITS, conductance_figure, unit_table

HELP = """
On the way from the ground (one colour, the median of each channel) to the picture, the logit of the class that the task
names changes, because the units of every layer change. A unit's **conductance** is its part of that change, in logits;
the places of a channel are added up. Blue units raise the logit, orange ones lower it, grey ones have a 95 % interval
(Student's t over the samples) that holds 0. Each task has its own row, and all rows have the same order of units.

If everything passes the layer, the parts add up to the whole change. The *gap* is what they miss: numerical error, or
ways around the layer.

**Shared**: the cosine of two tasks' conductances over the units, sample by sample. 1, the tasks use the same units to
the same end; 0, different ones; below 0, what speaks for one task's answer speaks against the other's.

**A net drawn anew** has learnt nothing: a rank correlation near 1 with its conductances would say that the pattern
comes from the sizes of the layers, not from what was learnt.

Source: Dhamdhere et al. 2018, arXiv:1805.12233.
"""


@st.cache_resource(max_entries=64, show_spinner=False)
def conductance_of(key: tuple[str, ...], task: str, layer: str, samples: tuple[int, ...], _found: Any) -> Any:
    """Conductance for what the net says about these samples. Loads torch and captum."""
    from workbench.diagnostics.conductance import conductance

    about = asked_of(_found, task, samples)
    return conductance(_found.net, about.pop("inputs"), layer=layer, n_steps=POINTS, **about)


def section(run: Run, asked: Asked) -> None:
    """Units of a layer for some samples, task by task, and whether the tasks share them."""
    from workbench.diagnostics.conductance import shared

    subject = asked.subject
    names = [layer.name for layer in asked.layers()]
    if not names:
        st.info("No layer of this net gives one tensor a sample between its inputs and outputs.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        tasks = list(subject.tasks)
        if len(tasks) > 1:
            chosen = some_of("Tasks", tasks, tasks[:2], "tasks")
            tasks = [task for task in tasks if task in chosen]
        layer = one_of("Layer", names[::-1], "layer") if len(names) > 1 else names[0]
        n = one_of("Number", [12, 48], "of samples", hint="Samples asked about.")
        samples = tuple(chosen_samples(run, asked, tasks, n))
    with st.spinner("Asking the layer…", show_time=True):
        found = {task: conductance_of(asked.key, task, layer, samples, subject) for task in tasks}
    table = unit_table({task: one.values for task, one in found.items()})
    said = [
        f"{a} and {b} share the layer's units with cosine {interval(shared(found[a].values, found[b].values).cosine)}"
        for i, a in enumerate(tasks)
        for b in tasks[i + 1 :]
    ]
    if said:
        st.markdown("**Shared?** " + parts.plain(" · ".join(said)))
    parts.chart(conductance_figure(table), "conductance", f"Conductance of {layer} for {', '.join(tasks)}")
    st.markdown("  \n".join(_line(task, one) for task, one in found.items()))
    more = f" Shown are the {UNITS} units with the largest means." if table["unit"].nunique() > UNITS else ""
    st.caption(parts.plain(f"Layer {layer}, step {subject.step}, {len(samples)} samples.{more} {asked.words}"))
    with st.expander("Numbers", icon=":material/table:"):
        parts.tables({"Conductance of units": table}, f"{run.name}-conductance")


def _line(task: str, found: Any) -> str:
    """How concentrated, how complete, and how unlike an untrained net."""
    size = np.sort(np.abs(found.values.mean(axis=0)))[::-1]
    few = int(np.searchsorted(np.cumsum(size), size.sum() / 2)) + 1
    return f"**{parts.plain(task)}** " + parts.plain(
        f"half of all that flows goes through {few} of {len(size)} units · gap up to {np.abs(found.gap).max():.2g} of "
        f"{np.abs(found.difference).mean():.1f} logits · rank correlation with a net drawn anew "
        f"{interval(found.randomised)}"
    )
