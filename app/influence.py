"""Which training data hurts a group of samples? The part of the attribution page that asks the last layer."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

import parts
import selection
from asked import Asked
from widgets import one_of
from workbench.core import Run, WorkbenchError
from workbench.core.files import cache_folder, folder_name
from workbench.lenses.influence_figure import influence_figure

LEFT_OUT, TRACED, ALIKE = "left out", "TracIn", "gradients alike"
#: Method -> title of its axis, and what a nat or a cosine of 1 is on it: single samples do little.
AXES = {
    LEFT_OUT: ("left out, head trained anew [micro-nats]", 1e6),
    ALIKE: ("gradients alike [cosine × 1,000]", 1e3),
    TRACED: ("TracIn [micro-nats]", 1e6),
}
#: What stands behind a number of each method in a sentence.
WORDS = {LEFT_OUT: "micro-nats", TRACED: "micro-nats", ALIKE: "thousandths"}
ALL, CLASS, PAIRS, CHOSEN = "all test samples", "true class", "every two attributes", "the selection"
INSIDE, OUTSIDE = "selected", "all others"
#: Groups of training samples smaller than this are not shown.
SMALLEST = 10
#: Trainings that end early, as shares of the whole one: checkpoints at regular intervals, as TracIn asks for.
ON_THE_WAY = (1 / 4, 1 / 2, 3 / 4)
#: Checkpoints of a run that are asked at most.
MOST_FILES = 6
HELP = """
All methods ask the net's last layer, on which every training sample pulls in a known direction.

- **Left out** (influence function, Koh and Liang 2017): how much the group's mean loss would rise if a training sample
  were left out and the last layer trained anew on the same features, by the exact Hessian. The last layer is first
  trained to its optimum with a small penalty; the layers before it stay as they are.
- **Gradients alike** (Hammoudeh and Lowd 2022): the mean cosine of a training sample's gradient with those of the
  group's samples. TracIn with gradients of length 1.
- **TracIn** (Pruthi et al. 2020): how much a gradient step on the training sample takes away from the group's loss, at
  each known checkpoint with the training's step size, added up over them. What all samples teach alike counts for each
  of them, so most are above 0: read who is lowest.

**A limit of TracIn.** Its sums belong to the few samples with the longest gradients, those that the net gets most
wrong; early checkpoints weigh most. A whole group of wrong labels can hide behind them: in the sample run
digit-biases/skewed it does, with one checkpoint as with four, while the two other methods name the group. Where they
disagree, trust TracIn least.

Above 0 the samples help: without them the group's loss would be higher. Below 0 they hurt. A training group is coloured
when its 95 % interval (Student's t over its samples) misses both 0 and the mean over all training samples, the dotted
line, and in a pale colour when it misses only that mean; with many groups a few are so by chance. A group that hurts
is a reason to look at its labels, not proof that they are wrong: rare and hard samples may hurt as well.
"""


@st.cache_resource(max_entries=4, show_spinner=False)
def data_of(key: tuple[str, ...], _asked: Asked) -> Any:
    """What the net was trained on and what it is tested with."""
    return _asked.data()


@st.cache_resource(max_entries=8, show_spinner=False)
def views_of(
    key: tuple[str, ...], task: str, files: tuple[Path, ...], _data: Any, _asked: Asked
) -> list[tuple[Any, Any]]:
    """What the head sees of the labelled training and test samples, one pair a checkpoint."""
    from workbench.diagnostics.influence import head_view

    nets = [_asked.load(file) for file in files] or [_asked.subject.net]
    parts_ = [(part, np.flatnonzero(part.targets[task] >= 0)) for part in _data]
    return [
        tuple(
            head_view(net, part.inputs[rows], part.targets[task][rows], task=task, forward=_asked.subject.forward)
            for part, rows in parts_
        )
        for net in nets
    ]


@st.cache_data(max_entries=32, show_spinner=False)
def influences(
    key: tuple[str, ...], task: str, files: tuple[Path, ...], groups: tuple[str, ...], rate: float, _views: Any
) -> tuple[dict[str, np.ndarray], str]:
    """Method -> values [N, G] in nats, or as a cosine; and why a method is missing, or ""."""
    from workbench.diagnostics.influence import gradient_cosine, influence_function, tracin

    fitted, tested = zip(*_views, strict=True)
    found, why = {}, ""
    try:
        found[LEFT_OUT] = influence_function(fitted[-1], tested[-1], groups).values
    except WorkbenchError as error:
        why = str(error)
    rates = [rate] * len(fitted)
    found[ALIKE] = gradient_cosine(fitted, tested, groups, rates)
    return {**found, TRACED: tracin(fitted, tested, groups, rates)}, why


def grouped(part: Any, task: str, by: str, asked: Asked) -> np.ndarray:
    """The name of each labelled sample's group."""
    targets = part.targets[task]
    if by == ALL:
        names = np.full(len(targets), ALL)
    elif by == CLASS:
        names = np.array([asked.name(task, i) for i in targets])
    else:
        names = np.asarray(part.levels[by]).astype(str)
    return names[targets >= 0]


def tables(values: dict[str, np.ndarray], groups: list[str], sources: list[np.ndarray]) -> dict[str, pd.DataFrame]:
    """Method -> influence of the training groups in its axis's unit; several groupings stand below one another."""
    from workbench.diagnostics.influence import summed

    found = {}
    for method, influence in values.items():
        scale = AXES[method][1]
        table = pd.concat([summed(scale * influence, groups, source.tolist()) for source in sources])
        found[method] = table[table["n"] >= SMALLEST].sort_values(["group", "mean"], ignore_index=True)
    return found


def sentence(tables_: dict[str, pd.DataFrame], group: str) -> str:
    """What hurts the group most, by every method."""
    said = []
    for method, table in tables_.items():
        worst = table[table["group"] == group].iloc[0]
        below_mean = f", which still helps, but less than the mean of all, {worst['usual']:.2f}"
        sure = below_mean if worst["high"] < worst["usual"] else ", which does not stand out"
        sure = "" if worst["high"] < min(0, worst["usual"]) else sure
        total = f", {worst['total'] / AXES[method][1]:+.3f} nats over its" if method != ALIKE else ", over its"
        said.append(
            f"{method}: {worst['source']} ({worst['mean']:+.2f} {WORDS[method]} a sample "
            f"[{worst['low']:.2f}, {worst['high']:.2f}]{total} {int(worst['n']):,} samples{sure})"
        )
    return f"**What hurts {parts.plain(group)} most** " + parts.plain(" · ".join(said))


def checkpoints(run: Run, asked: Asked) -> dict[int, Path]:
    """The checkpoints to ask. For a demo: its last one and those trained again, with the button that does so."""
    files = dict(sorted(asked.files.items()))
    if not asked.demo:
        steps = list(files)
        kept = sorted({steps[round(i)] for i in np.linspace(0, len(steps) - 1, MOST_FILES)} if steps else ())
        return {step: files[step] for step in kept}
    step = asked.subject.step
    steps_before = tuple(sorted({round(share * step) for share in ON_THE_WAY} - {0, step}))
    place = cache_folder() / "on-the-way" / folder_name(f"{run.info.name}-{run.info.seed}-{run.fingerprint()}")
    variant = run.info.name.partition("/")[2]
    known = {s: place / f"step-{s}" / variant / "checkpoints" / f"step-{s:08d}.safetensors" for s in steps_before}
    if all(path.with_suffix(".json").is_file() for path in known.values()):
        return {**known, **files}
    said = ", ".join(map(str, steps_before))
    if st.button("Train again for checkpoints on the way", icon=":material/model_training:", help=(
        f"The run kept one checkpoint. This trains it again with its seed to steps {said}."
    )):  # fmt: skip
        from workbench.demos.training_data import checkpoints_again

        bar = st.progress(0.0, "Training again…")
        checkpoints_again(run, steps_before, place, lambda done, total: bar.progress(done / total, "Training again…"))
        st.rerun()
    return files


def section(run: Run, asked: Asked) -> None:
    """Draw the widgets, the sentence, the figure and the numbers."""
    if asked.no_data is not None:
        st.info(parts.prose(asked.no_data), icon=":material/inbox:")
        return
    with st.spinner("Drawing the training samples again…", show_time=True):
        data = data_of(asked.key, asked)
    tasks = [task for task in asked.subject.tasks if all((p.targets.get(task, _NONE) >= 0).any() for p in data)]
    tasks = [task for task in tasks if asked.subject.said[task].logits.shape[1] > 1]
    if not tasks:
        st.info("No task has class numbers both for training and for test samples.", icon=":material/inbox:")
        return
    task = one_of("Task", tasks, "task") if len(tasks) > 1 else tasks[0]
    fitted, tested = data
    with st.container(horizontal=True, vertical_alignment="bottom"):
        names, group = _asked_group(run, asked, tested, task)
        kinds = _kinds(fitted, task)
        kind = one_of("Training samples by", kinds, "training by")
        files = checkpoints(run, asked)
    groups = sorted(set(names.tolist()))
    key = (asked.key, task, tuple(files.values()))
    try:
        with st.spinner("Asking the last layer about every training sample…", show_time=True):
            values, why = influences(*key, tuple(names.tolist()), asked.rate, views_of(*key, data, asked))
    except WorkbenchError as error:
        st.info(parts.plain(str(error)), icon=":material/inbox:")
        return
    singles = [name for name in kinds if name != PAIRS]
    by_level = {name: grouped(fitted, task, name, asked) for name in singles}
    pairs = [_both(by_level[a], by_level[b]) for a, b in combinations(singles[:-1], 2)]
    shown = tables(values, groups, pairs if kind == PAIRS else [by_level[kind]])
    st.markdown(sentence(shown, group))
    parts.chart(
        influence_figure({AXES[method][0]: table for method, table in shown.items()}, group),
        "influence",
        sentence(shown, group),
    )
    st.caption(parts.plain(_about(run, asked, data, files) + f" {why}"))
    with st.expander("Numbers", icon=":material/table:"):
        parts.tables(shown, f"{run.name}-influence")


_NONE = np.array([-1])


def _kinds(part: Any, task: str) -> list[str]:
    """How training samples can be grouped: by pairs of levels, by each one, by class last."""
    levels = _levels(part, task)
    return [*[PAIRS] * (len(levels) > 1), *levels, CLASS]


def _levels(part: Any, task: str) -> list[str]:
    """Attributes in which the labelled samples differ."""
    labelled = part.targets[task] >= 0
    return [name for name, values in part.levels.items() if len(set(np.asarray(values)[labelled].tolist())) > 1]


def _both(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.char.add(np.char.add(left, " and "), right)


def _asked_group(run: Run, asked: Asked, tested: Any, task: str) -> tuple[np.ndarray, str]:
    """The group of each labelled test sample, and the one that is asked about."""
    chosen = selection.current(run) if asked.numbered else None
    levels = _levels(tested, task)
    by = one_of("Whose loss", [*[CHOSEN] * (chosen is not None), *levels, CLASS, ALL], "whose")
    if by == CHOSEN and chosen is not None:
        inside = np.isin(asked.subject.samples, chosen.samples)[tested.targets[task] >= 0]
        names = np.where(inside, INSIDE, OUTSIDE)
        return names, INSIDE if inside.any() else OUTSIDE
    names = grouped(tested, task, by, asked)
    groups = sorted(set(names.tolist()))
    if len(groups) < 2:
        return names, groups[0]
    losses = asked.frame.reindex(asked.subject.samples)[f"loss {task}"][tested.targets[task] >= 0]
    means = losses.groupby(names).mean().dropna()
    return names, one_of("Group", groups, "group", first=means.idxmax() if len(means) else groups[0])


def _about(run: Run, asked: Asked, data: Any, files: dict[int, Path]) -> str:
    """Where the samples and the checkpoints come from."""
    fitted, tested = data
    if asked.demo:
        said = (
            f"The {len(fitted.inputs):,} training samples are not in the run: they were drawn again from the recipe "
            f"{run.info.recipe} with seed {run.info.seed}. So drawn, all {len(tested.inputs):,} test samples have "
            "their recorded targets."
        )
    else:
        said = (
            f"The {len(fitted.inputs):,} training samples are the first ones of the problem's batches. {asked.words} "
            f"Step size {asked.rate:g}."
        )
    steps = ", ".join(map(str, files)) or "none, the weights are fresh"
    again = ", the earlier ones trained again" if asked.demo and len(files) > 1 else ""
    return f"{said} Checkpoints: {steps}{again}. In brackets: training samples of the group."
