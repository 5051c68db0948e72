"""Which training data hurts a group of samples? The part of the attribution page that asks the last layer."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

import parts
from widgets import one_of
from workbench.core import Run, WorkbenchError
from workbench.core.files import cache_folder, folder_name
from workbench.demos.training_data import why_not_redrawn
from workbench.lenses.influence_figure import influence_figure

#: Influence is shown in millionths of a nat, which a single training sample's is of the size of.
MICRO = 1e6
LEFT_OUT, TRACED = "left out", "TracIn"
AXES = {LEFT_OUT: "left out, head trained anew [micro-nats]", TRACED: "TracIn [micro-nats]"}
ALL, CLASS, PAIRS = "all test samples", "true class", "every two attributes"
#: Groups of training samples smaller than this are not shown.
SMALLEST = 10
#: Trainings that end early, as shares of the whole one.
ON_THE_WAY = (1 / 8, 1 / 4, 1 / 2)
HELP = """
Both methods ask the net's last layer, on which every training sample pulls in a known direction.

- **Left out** (influence function, Koh and Liang 2017): how much the group's mean loss would rise if a training sample
  were left out and the last layer trained anew on the same features, by the exact Hessian. The last layer is first
  trained to its optimum with a small penalty; the layers before it stay as they are.
- **TracIn** (Pruthi et al. 2020): how much a gradient step on the training sample takes away from the group's loss, at
  each known checkpoint with the training's step size, added up over them. What all samples teach alike counts for each
  of them, so most are above 0: read who is lowest. Early checkpoints weigh most.

Above 0 the samples help: without them the group's loss would be higher. Below 0 they hurt. A training group is coloured
when its 95 % interval (Student's t over its samples) misses both 0 and the mean over all training samples, the dotted
line; with many groups a few are so by chance. A group that hurts is a reason to look at its labels, not proof that they
are wrong: rare and hard samples may hurt as well.
"""


@st.cache_resource(max_entries=4, show_spinner=False)
def data_of(path: Path, fingerprint: str, _run: Run) -> Any:
    """What the net was trained and tested on, drawn again."""
    from workbench.demos.training_data import training_data

    return training_data(_run)


@st.cache_resource(max_entries=8, show_spinner=False)
def views_of(path: Path, fingerprint: str, task: str, files: tuple[Path, ...], _data: Any) -> list[tuple[Any, Any]]:
    """What the head sees of the training and of the test samples, one pair a checkpoint."""
    from workbench.demos.nets import load_net
    from workbench.diagnostics.influence import head_view

    nets = [load_net(file) for file in files]
    return [tuple(head_view(net, part.inputs, part.targets[task], task=task) for part in _data) for net in nets]


@st.cache_data(max_entries=32, show_spinner=False)
def influences(
    path: Path, fingerprint: str, task: str, files: tuple[Path, ...], groups: tuple[str, ...], rate: float, _views: Any
) -> dict[str, np.ndarray]:
    """Method -> values [N, G] in nats."""
    from workbench.diagnostics.influence import influence_function, tracin

    fitted, tested = zip(*_views, strict=True)
    left_out = influence_function(fitted[-1], tested[-1], groups)
    return {LEFT_OUT: left_out.values, TRACED: tracin(fitted, tested, groups, [rate] * len(fitted))}


def grouped(part: Any, task: str, by: str, classes: tuple[str, ...]) -> np.ndarray:
    """The name of each sample's group."""
    if by == ALL:
        return np.full(len(part.inputs), ALL)
    if by == CLASS:
        return np.array([classes[i] if i < len(classes) else str(i) for i in part.targets[task]])
    return np.asarray(part.levels[by]).astype(str)


def tables(values: dict[str, np.ndarray], groups: list[str], sources: list[np.ndarray]) -> dict[str, pd.DataFrame]:
    """Axis title -> influence of the training groups in micro-nats; several groupings stand below one another."""
    from workbench.diagnostics.influence import summed

    found = {}
    for method, influence in values.items():
        table = pd.concat([summed(MICRO * influence, groups, source.tolist()) for source in sources])
        found[AXES[method]] = table[table["n"] >= SMALLEST].sort_values(["group", "mean"], ignore_index=True)
    return found


def sentence(tables_: dict[str, pd.DataFrame], group: str) -> str:
    """What hurts the group most, by both methods."""
    said = []
    for axis, table in tables_.items():
        worst = table[table["group"] == group].iloc[0]
        sure = "" if worst["high"] < min(0, worst["usual"]) else ", which does not stand out"
        said.append(
            f"{axis.split(',')[0].split(' [')[0]}: {worst['source']} "
            f"({worst['mean']:+.2f} micro-nats a sample [{worst['low']:.2f}, {worst['high']:.2f}], "
            f"{worst['total'] / MICRO:+.3f} nats over its {int(worst['n']):,} samples{sure})"
        )
    return f"**What hurts {parts.plain(group)} most** " + parts.plain(" · ".join(said))


def checkpoints(run: Run, step: int, file: Path) -> dict[int, Path]:
    """The run's last checkpoint and those that were trained again on the way to it, with the button that does so."""
    steps = tuple(sorted({round(share * step) for share in ON_THE_WAY} - {0, step}))
    place = cache_folder() / "on-the-way" / folder_name(f"{run.info.name}-{run.info.seed}-{run.fingerprint()}")
    variant = run.info.name.partition("/")[2]
    known = {s: place / f"step-{s}" / variant / "checkpoints" / f"step-{s:08d}.safetensors" for s in steps}
    if all(path.with_suffix(".json").is_file() for path in known.values()):
        return {**known, step: file}
    said = ", ".join(map(str, steps))
    if st.button("Train again for checkpoints on the way", icon=":material/model_training:", help=(
        f"The run kept one checkpoint. This trains it again with its seed to steps {said}, for TracIn."
    )):  # fmt: skip
        from workbench.demos.training_data import checkpoints_again

        bar = st.progress(0.0, "Training again…")
        checkpoints_again(run, steps, place, lambda done, total: bar.progress(done / total, "Training again…"))
        st.rerun()
    return {step: file}


def section(run: Run, found: Any) -> None:
    """Draw the widgets, the sentence, the figure and the numbers."""
    reason = why_not_redrawn(run)
    if reason is not None:
        st.info(parts.prose(reason), icon=":material/inbox:")
        return
    try:
        with st.spinner("Drawing the training samples again…", show_time=True):
            data = data_of(run.path, run.fingerprint(), run)
    except WorkbenchError as error:
        st.error(parts.plain(str(error)), icon=":material/broken_image:")
        return
    fitted, tested = data
    task = one_of("Task", found.tasks, "task") if len(found.tasks) > 1 else found.tasks[0]
    classes = next((item.classes for item in run.info.tasks if item.name == task), ())
    levels = [name for name, values in fitted.levels.items() if len(set(values)) > 1]
    asked = [name for name, values in tested.levels.items() if len(set(values)) > 1]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        by = one_of("Whose loss", [*asked, CLASS, ALL], "whose")
        names = grouped(tested, task, by, classes)
        groups = sorted(set(names.tolist()))
        group = one_of("Group", groups, "group", first=_worst(run, found, task, names)) if len(groups) > 1 else ALL
        kinds = [*[PAIRS] * (len(levels) > 1), *levels, CLASS]
        kind = one_of("Training samples by", kinds, "training by")
        files = checkpoints(run, found.step, run.checkpoints()[found.step])
    key = (run.path, run.fingerprint(), task, tuple(files.values()))
    rate = float(run.info.config.get("lr", 1.0))
    with st.spinner("Asking the last layer about every training sample…", show_time=True):
        values = influences(*key, tuple(names.tolist()), rate, views_of(*key, data))
    by_level = {name: grouped(fitted, task, name, classes) for name in [*levels, CLASS]}
    pairs = [np.char.add(np.char.add(by_level[a], " and "), by_level[b]) for a, b in combinations(levels, 2)]
    shown = tables(values, groups, pairs if kind == PAIRS else [by_level[kind]])
    st.markdown(sentence(shown, group))
    fig = influence_figure(shown, group)
    parts.chart(fig, "influence", sentence(shown, group))
    st.caption(
        f"The {len(fitted.inputs):,} training samples are not in the run: they were drawn again from the recipe "
        f"{run.info.recipe} with seed {run.info.seed}. So drawn, all {len(tested.inputs):,} test samples have their "
        f"recorded targets. Checkpoints of TracIn: {', '.join(map(str, files))}"
        + (", the earlier ones trained again. " if len(files) > 1 else ". ")
        + "In brackets: training samples of the group."
    )
    with st.expander("Numbers", icon=":material/table:"):
        parts.tables({axis.split(" [")[0]: table for axis, table in shown.items()}, f"{run.name}-influence")


def _worst(run: Run, found: Any, task: str, names: np.ndarray) -> str:
    """The group with the largest recorded loss."""
    losses = run.query(
        "SELECT any_value(loss) AS loss FROM predictions WHERE step = ? AND task = ? GROUP BY sample ORDER BY sample",
        [found.step, task],
    )["loss"].to_numpy()
    if len(losses) != len(names):
        return str(names[0])
    return str(pd.Series(losses).groupby(names).mean().idxmax())
