"""Do the run's attributes move the net's answer? The part of the attribution page that asks about concepts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

import parts
from widgets import one_of
from workbench.core import Run
from workbench.lenses.concept_figure import concept_figure

#: Least pictures of a class, and with and without a concept.
LEAST = 10
#: Called are concepts with at most this share of false discoveries among them.
LEVEL = 0.05
#: What the heads see. They are linear in it: a logit rises along a direction there for every picture or for none.
HEADS_SEE = "trunk.embed"
HELP = """
A concept is a level of a recorded attribute, given by the pictures that have it and those of the other levels. In a
layer's activations there is a direction from the one to the other. The **score** is the share of the class's pictures
whose logit of that class rises along it: 1, every one; 0, none; 1/2, no tendency. The line is the range over ten random
halves of the concept's pictures.

The grey band holds 95 % of the scores of 399 **random concepts**: the same pictures, marked at random. A concept is
called (coloured) when the mean logit changes faster along it than along random ones, by a permutation test with at most
5 % false discoveries over the concepts shown (Benjamini-Hochberg). *Told apart*, the accuracy in the numbers, says how
well the layer knows the concept at all; near 0.5 a score says nothing.

That a concept lowers a class's logit need not be wrong: it may be a picture that is truly harder to read.

Source: Kim et al. 2018, arXiv:1711.11279; direction and test are this project's choices.
"""


@st.cache_data(max_entries=32, show_spinner=False)
def scores(path: Path, fingerprint: str, task: str, target: int, layer: str, _found: Any, _frame: Any) -> pd.DataFrame:
    """A row a concept. Loads torch."""
    import torch

    from workbench.diagnostics.concepts import tcav
    from workbench.lenses.intervals import benjamini_hochberg

    inputs = _found.inputs[torch.from_numpy(_found.faithful)]
    asked = inputs[torch.from_numpy((_frame[f"target_{task}"] == target).to_numpy(copy=True))]
    rows = []
    for name, mark in concepts(_frame).items():
        found = tcav(_found.net, inputs, mark, asked, target=target, layer=layer, task=task)
        band = np.quantile(found.random, [0.025, 0.975])
        rows.append((name, found.score, found.halves.min(), found.halves.max(), *band, found.accuracy, found.p_value))
    columns = ["concept", "score", "low", "high", "random_low", "random_high", "accuracy", "p_value"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(q_value=benjamini_hochberg(table["p_value"].to_numpy()))


def concepts(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Attribute and level -> which samples have it; of an attribute with two levels the second one alone."""
    found = {}
    for name in frame.attrs["attributes"]:
        levels = sorted(frame[name].dropna().unique(), key=str)
        for level in levels[1:] if len(levels) == 2 else levels:
            mark = (frame[name] == level).to_numpy(dtype=bool)
            if min(mark.sum(), (~mark).sum()) >= LEAST:
                found[f"{name}: {level}"] = mark
    return found


def section(run: Run, found: Any, frame: pd.DataFrame) -> None:
    """Draw the widgets, the sentence, the figure and the numbers."""
    attributes = [a.name for a in run.info.attributes] + ["domain", "dataset"]
    frame.attrs["attributes"] = [a for a in dict.fromkeys(attributes) if a in frame and frame[a].nunique() <= 20]
    targets = [task for task in found.tasks if f"target_{task}" in frame]
    modules = dict(found.net.named_modules())
    layers = [name for name in run.info.layers if name in modules and name != HEADS_SEE]
    if not concepts(frame) or not targets or not layers:
        st.info(
            f"Concepts are levels of recorded attributes, with {LEAST} pictures that have the level and {LEAST} that "
            "have not. This run has none.",
            icon=":material/inbox:",
        )
        return
    names = {task.name: task.classes for task in run.info.tasks}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        task = one_of("Task", targets, "task") if len(targets) > 1 else targets[0]
        counts = frame[f"target_{task}"].dropna().astype(int).value_counts().sort_index()
        known = [int(c) for c, n in counts.items() if n >= LEAST] or [int(counts.idxmax())]
        target = one_of(f"Class of {task}", known, "of class", name=lambda c: names[task][c])
        layer = one_of("Layer", layers[::-1], "layer") if len(layers) > 1 else layers[0]
    with st.spinner("Asking the layer about every concept…", show_time=True):
        table = scores(run.path, run.fingerprint(), task, target, layer, found, frame)
    answer = f"{task} {names[task][target]}"
    st.markdown(sentence(table, answer))
    parts.chart(concept_figure(table, answer), "concepts", sentence(table, answer))
    st.caption(
        f"Layer {parts.plain(layer)}, step {found.step}, the {int(counts[target]):,} recorded pictures of the class; "
        f"concepts from {len(frame):,} pictures."
    )
    with st.expander("Numbers", icon=":material/table:"):
        parts.tables({"Concepts": table}, f"{run.name}-concepts")


def sentence(table: pd.DataFrame, answer: str) -> str:
    """The concepts that are called, the strongest first."""
    called = table[table["q_value"] <= LEVEL].sort_values("score")
    if called.empty:
        return (
            f"**None of the {len(table)} concepts** moves the logit of {parts.plain(answer)} more than random ones do."
        )
    said = [
        f"{row.concept} {'lowers' if row.score < 0.5 else 'raises'} it (score {row.score:.2f}, q = {row.q_value:.2g})"
        for row in called.itertuples()
    ]
    return f"**What moves the logit of {parts.plain(answer)}** " + parts.plain(" · ".join(said))
