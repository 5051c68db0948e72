"""Do the run's attributes move the net's answer? The part of the attribution page that asks about concepts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

import parts
import selection
from asked import Asked
from widgets import one_of
from workbench.core import Run
from workbench.lenses.concept_figure import concept_figure

#: Least pictures of a class, and with and without a concept.
LEAST = 10
#: Called are concepts with at most this share of false discoveries among them.
LEVEL = 0.05
#: Whose logits are asked about, beside the samples of one class.
SELECTED = "the selection"
HELP = """
A concept is a level of a recorded attribute, given by the samples that have it and those of the other levels. In a
layer's activations there is a direction from the one to the other. The **score** is the share of the class's samples
(or of the selected ones) whose logit of that class rises along it: 1, every one; 0, none; 1/2, no tendency. The line is
the range over ten random halves of the concept's samples.

The grey band holds 95 % of the scores of 399 **random concepts**: the same samples, marked at random. A concept is
called (coloured) when the mean logit changes faster along it than along random ones, by a permutation test with at most
5 % false discoveries over the concepts shown (Benjamini-Hochberg). *Told apart*, the accuracy in the numbers, says how
well the layer knows the concept at all; near 0.5 a score says nothing.

That a concept lowers a class's logit need not be wrong: it may make a picture truly harder to read.

Source: Kim et al. 2018, arXiv:1711.11279; direction and test are this project's choices.
"""


@st.cache_data(max_entries=32, show_spinner=False)
def scores(
    key: tuple[str, ...], task: str, target: int, layer: str, members: tuple[int, ...], attributes: tuple[str, ...],
    _found: Any, _frame: pd.DataFrame,
) -> pd.DataFrame:  # fmt: skip
    """A row a concept, for the logit of a class of these samples. Loads torch."""
    import torch

    from workbench.diagnostics.concepts import tcav
    from workbench.lenses.intervals import benjamini_hochberg

    places = np.searchsorted(_found.samples, _frame.index.to_numpy())
    inputs = _found.inputs[torch.from_numpy(places)]
    asked = _found.inputs[torch.from_numpy(np.searchsorted(_found.samples, members))]
    rows = []
    for name, mark in concepts(_frame, attributes).items():
        found = tcav(_found.net, inputs, mark, asked, target=target, layer=layer, task=task, forward=_found.forward)
        band = np.quantile(found.random, [0.025, 0.975])
        rows.append((name, found.score, found.halves.min(), found.halves.max(), *band, found.accuracy, found.p_value))
    columns = ["concept", "score", "low", "high", "random_low", "random_high", "accuracy", "p_value"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(q_value=benjamini_hochberg(table["p_value"].to_numpy()))


def concepts(frame: pd.DataFrame, attributes: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Attribute and level -> which samples have it; of an attribute with two levels the second one alone."""
    found = {}
    for name in attributes:
        levels = sorted(frame[name].dropna().unique(), key=str)
        for level in levels[1:] if len(levels) == 2 else levels:
            mark = (frame[name] == level).to_numpy(dtype=bool)
            if min(mark.sum(), (~mark).sum()) >= LEAST:
                found[f"{name}: {level}"] = mark
    return found


def section(run: Run, asked: Asked) -> None:
    """Draw the widgets, the sentence, the figure and the numbers."""
    subject, frame = asked.subject, asked.frame
    targets = [task for task in subject.tasks if f"target_{task}" in frame and subject.said[task].logits.shape[1] > 1]
    # Heads are linear in the last layer: along a direction there a logit rises for every sample or for none.
    layers = [layer.name for layer in asked.layers() if not layer.last]
    if not concepts(frame, asked.attributes) or not targets or not layers:
        st.info(
            f"Concepts are levels of attributes, with {LEAST} samples that have the level and {LEAST} that have not, "
            "and are asked about a class that samples are labelled with. This run has none.",
            icon=":material/inbox:",
        )
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        task = one_of("Task", targets, "task") if len(targets) > 1 else targets[0]
        truth = frame[f"target_{task}"].dropna().astype(int)
        counts = truth.value_counts().sort_index()
        known = [int(c) for c, n in counts.items() if n >= LEAST] or [int(counts.idxmax())]
        target = one_of(f"Class of {task}", known, "of class", name=lambda c: asked.name(task, c))
        members, words = _members(run, asked, truth, target, task)
        layer = one_of("Layer", layers[::-1], "layer") if len(layers) > 1 else layers[0]
    with st.spinner("Asking the layer about every concept…", show_time=True):
        table = scores(asked.key, task, target, layer, members, asked.attributes, subject, frame)
    answer = f"{task} {asked.name(task, target)}"
    st.markdown(sentence(table, answer))
    parts.chart(concept_figure(table, answer), "concepts", sentence(table, answer))
    st.caption(
        parts.plain(
            f"Layer {layer}, step {subject.step}; the logit of {answer} of {words}; concepts from {len(frame):,} "
            f"samples. {asked.words}"
        )
    )
    with st.expander("Numbers", icon=":material/table:"):
        parts.tables({"Concepts": table}, f"{run.name}-concepts")


def _members(run: Run, asked: Asked, truth: pd.Series, target: int, task: str) -> tuple[tuple[int, ...], str]:
    """Whose logit is asked about: the samples of the class, or the selected ones; and in words."""
    of_class = tuple(int(sample) for sample in truth.index[truth == target])
    chosen = selection.current(run) if asked.numbered else None
    held = tuple(int(sample) for sample in asked.frame.index.intersection(list(chosen.samples) if chosen else []))
    if held and one_of("Logits of", [f"its {len(of_class):,} samples", SELECTED], "logits of") == SELECTED:
        return held, f"the {len(held):,} selected samples"
    return of_class, f"the {len(of_class):,} samples of that class"


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
