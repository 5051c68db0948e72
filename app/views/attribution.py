"""Where does the net look? Maps of single samples, task by task, with what speaks against them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

import concepts
import influence
import parts
import selection
from choice import SAMPLES, chosen_run, collection, folders, look_at
from frame import heading
from widgets import one_of, some_of
from workbench.core import Run, WorkbenchError
from workbench.demos.rebuilt import why_not
from workbench.lenses.attribution_figure import attribution_figure

METHODS = ("integrated gradients", "gradient × input", "occlusion", "grad-cam")
#: Points of integrated gradients in the maps, and in the repeated maps behind two of the checks.
POINTS, CHECK_POINTS = 256, 64
#: Which samples are offered; within each, those with the largest loss come first.
WORST, BY_CLASS, BY_ATTRIBUTE, CHOSEN = "worst first", "by class", "by attribute", "the selection"
#: What is asked on this page.
MAPS, CONCEPTS, TRAINING = "pixels", "concepts", "training data"
UNITS = {
    "integrated gradients": "logits a pixel",
    "gradient × input": "logits a pixel",
    "occlusion": "logits",
    "grad-cam": "weighted activation",
}
HELP = """
Blue places raise the logit of the class that the task names, orange ones lower it. Compared is with a picture of one
colour: the median of each channel, which is the ground the object stands on.

- **Integrated gradients** share out the whole difference of the logits, pixel by pixel. The *gap* is what of it the
  map misses or adds: large gaps mean a map that cannot be read as shares.
- **Gradient × input** is the first-order guess of the same, **occlusion** the drop of the logit when a square of 5 by 5
  pixels is painted over, **Grad-CAM** a coarse map from the last convolution.
- **Infidelity**: random rectangles are painted over; this share of the change of the logit is not foreseen by the map.
  0 is best, 1 says nothing.
- **Sensitivity**: how much of the map changes, at most, when every pixel changes by up to 0.02. Here and in the next
  check integrated gradients use 64 points on the way from the ground to the picture; the maps shown use 256.
- **A net drawn anew** has learnt nothing. If its maps look alike (rank correlation near 1), the map shows the picture,
  not what was learnt.

Sources: Sundararajan et al. 2017, Zeiler and Fergus 2014, Selvaraju et al. 2017, Yeh et al. 2019, Adebayo et al. 2018.
"""


@st.cache_resource(max_entries=8, show_spinner=False)
def rebuilt(path: Path, fingerprint: str, _run: Run) -> Any:
    """The net and its pictures. Loads torch."""
    from workbench.demos.rebuilt import rebuild

    return rebuild(_run)


@st.cache_resource(max_entries=64, show_spinner=False)
def maps_of(path: Path, fingerprint: str, task: str, method: str, samples: tuple[int, ...], _found: Any) -> np.ndarray:
    """Maps of what the net says about these samples. Loads torch and captum."""
    from workbench.diagnostics.attribution import attribute

    images, asked = question(_found, task, method, samples)
    return attribute(_found.net, images, n_steps=POINTS, **asked)


@st.cache_resource(max_entries=64, show_spinner=False)
def checks_of(path: Path, fingerprint: str, task: str, method: str, samples: tuple[int, ...], _found: Any) -> Any:
    """The checks of the same maps."""
    from workbench.diagnostics.attribution import check

    images, asked = question(_found, task, method, samples)
    maps = maps_of(path, fingerprint, task, method, samples, _found)
    return check(_found.net, images, maps, n_steps=CHECK_POINTS, **asked)


def question(found: Any, task: str, method: str, samples: tuple[int, ...]) -> tuple[Any, dict[str, Any]]:
    """The pictures, and what is asked about them: the class that the net names, against the picture's own ground."""
    import torch

    from workbench.demos.rebuilt import grounds

    rows = np.searchsorted(found.samples, samples)
    images = found.inputs[rows]
    target = torch.from_numpy(found.said[task].prediction[rows])
    return images, {"method": method, "task": task, "target": target, "baseline": grounds(images)}


def flat(maps: np.ndarray, method: str) -> np.ndarray:
    """Maps [N, H, W]: the channels of a pixel add up, but occlusion covers them all at once."""
    if maps.ndim == 3:
        return maps
    return maps.mean(axis=1) if method == "occlusion" else maps.sum(axis=1)


def no_net(reason: str) -> None:
    """Why there are no maps, how to make them in one's own code, and a sample run that has them."""
    st.info(parts.prose(reason), icon=":material/inbox:", title="No net to ask")
    st.markdown(
        "Maps need the net itself. Here it is rebuilt from a checkpoint of a demo run; the maps of any other net are "
        "made where the net is:"
    )
    st.code(
        "from workbench.diagnostics.attribution import attribute, check\n\n"
        'maps = attribute(net, images, method="integrated gradients", task="left")\n'
        'checks = check(net, images, maps, method="integrated gradients", task="left")',
        language="python",
    )
    samples = folders().get(SAMPLES)
    example = "digit-pairs/joint"
    if samples is not None and example in collection(samples):
        st.button(
            f"See it in the sample run {parts.plain(example)}", on_click=look_at,
            kwargs={"run": example, "folder": SAMPLES}, icon=":material/visibility:", key="show sample",
        )  # fmt: skip
    st.stop()


def recorded(run: Run, found: Any) -> pd.DataFrame:
    """The samples whose picture stands for the net's input: loss per task, targets, attributes; index sample."""
    frame = run.query("SELECT * EXCLUDE (thumbnail) FROM samples").drop_duplicates("sample").set_index("sample")
    losses = run.query(
        "SELECT sample, task, any_value(loss) AS loss FROM predictions WHERE step = ? GROUP BY ALL", [found.step]
    )
    wide = losses.pivot(index="sample", columns="task", values="loss").add_prefix("loss ")
    return frame.join(wide).loc[found.samples[found.faithful]]


def chosen_samples(run: Run, frame: pd.DataFrame, tasks: list[str], n: int) -> list[int]:
    """Draw the widgets that choose samples; the ones with the largest loss come first."""
    names = class_names(run, tasks[0])
    attributes = [a.name for a in run.info.attributes if a.name in frame and 1 < frame[a.name].nunique() <= 20]
    attributes += [name for name in ("domain", "dataset") if name in frame and 1 < frame[name].nunique() <= 20]
    target = f"target_{tasks[0]}"
    chosen = selection.current(run)
    held = frame.index.intersection(list(chosen.samples) if chosen else [])
    orders = [*[CHOSEN] * bool(len(held)), WORST, *[BY_CLASS] * (target in frame), *[BY_ATTRIBUTE] * bool(attributes)]
    order = one_of("Samples", orders, "samples", hint="Within a class or a level, too, the largest loss comes first.")
    if chosen is not None:
        st.caption(f"{len(held):,} of the {len(chosen.samples):,} selected samples can be asked about.")
    if order == CHOSEN:
        frame = frame.loc[held]
    elif order == BY_CLASS:
        classes = sorted(frame[target].dropna().astype(int).unique())
        of_class = one_of(f"Class of {tasks[0]}", [int(c) for c in classes], "class", name=lambda c: named(names, c))
        frame = frame[frame[target] == of_class]
    elif order == BY_ATTRIBUTE:
        attribute = one_of("Attribute", attributes, "attribute")
        level = one_of("Level", sorted(frame[attribute].dropna().unique(), key=str), "level")
        frame = frame[frame[attribute] == level]
    loss = frame[[f"loss {task}" for task in tasks]].sum(axis=1)
    return [int(sample) for sample in loss.sort_values(ascending=False, kind="stable").index[:n]]


def class_names(run: Run, task: str) -> tuple[str, ...]:
    return next((item.classes for item in run.info.tasks if item.name == task), ())


def named(names: tuple[str, ...], index: float) -> str:
    known = pd.notna(index) and 0 <= int(index) < len(names)
    return names[int(index)] if known else ("unknown" if pd.isna(index) else str(int(index)))


def answers(run: Run, found: Any, frame: pd.DataFrame, task: str, rows: np.ndarray) -> list[str]:
    """What the net says about each sample, how surely, and what is true."""
    names, said, lines = class_names(run, task), found.said[task], []
    for row in rows:
        target = frame.loc[found.samples[row]].get(f"target_{task}", np.nan)
        wrong = pd.notna(target) and int(target) != said.prediction[row]
        is_true = f", is {named(names, target)} ✕" if wrong else " ✓" if pd.notna(target) else ""
        lines.append(f"{task}: {named(names, said.prediction[row])} ({said.confidence[row]:.2f}){is_true}")
    return lines


def interval(values: np.ndarray) -> str:
    from workbench.diagnostics.attribution import mean

    found = mean(values)
    if found.n < 2:
        return "not known" if not found.n else f"{found.value:.2f} (1 sample)"
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def checks_line(task: str, checks: Any) -> str:
    """The checks of one task's maps in one line."""
    said = []
    if np.isfinite(checks.gap).any():
        said.append(f"gap up to {np.nanmax(np.abs(checks.gap)):.2g} of {np.abs(checks.difference).mean():.1f} logits")
    said.append(f"infidelity {interval(checks.infidelity)}")
    said.append(f"sensitivity {interval(checks.sensitivity)}")
    said.append(f"rank correlation with a net drawn anew {interval(checks.randomised)}")
    return f"**{parts.plain(task)}** " + parts.plain(" · ".join(said))


def agreement_line(tasks: list[str], shown: dict[str, np.ndarray]) -> str:
    """How alike the maps of each two tasks are."""
    from workbench.diagnostics.attribution import agreement

    said = []
    for i, left in enumerate(tasks):
        for right in tasks[i + 1 :]:
            both = agreement(shown[left], shown[right])
            said.append(f"{left} and {right}: cosine {interval(both.cosine)}, rank correlation {interval(both.rank)}")
    return "**Alike?** " + parts.plain(" · ".join(said))


def maps_view(run: Run, found: Any, frame: pd.DataFrame) -> None:
    """Maps of some samples, what speaks against them, and whether the tasks look at the same places."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        tasks = some_of("Tasks", found.tasks, found.tasks[:2], "tasks") if len(found.tasks) > 1 else list(found.tasks)
        n = one_of("Number", [6, 12], "number", hint="Samples shown.")
        samples = chosen_samples(run, frame, tasks, n)
        with st.container(width=220):
            method = one_of("Method", METHODS, "method")
    tasks = [task for task in found.tasks if task in tasks]
    key = (method, tuple(samples), found)
    with st.spinner("Asking the net…", show_time=True):
        shown = {task: flat(maps_of(run.path, run.fingerprint(), task, *key), method) for task in tasks}
    rows = np.searchsorted(found.samples, samples)
    fig = attribution_figure(
        found.inputs[rows].numpy(),
        shown,
        [f"sample {found.samples[row]}" for row in rows],
        {task: answers(run, found, frame, task, rows) for task in tasks},
        UNITS[method],
    )
    parts.chart(fig, "attribution", f"{len(rows)} samples with {method} maps of {', '.join(tasks)}")
    with st.spinner("Checking the maps…", show_time=True):
        lines = [checks_line(task, checks_of(run.path, run.fingerprint(), task, *key)) for task in tasks]
    st.markdown("  \n".join(lines))
    if len(tasks) > 1:
        st.markdown(agreement_line(tasks, shown))
    with st.container(horizontal=True, vertical_alignment="top", wrap=False):
        st.caption(
            f"Step {found.step}. Blue speaks for the class the task names, orange against it. Numbers are means over "
            f"the {len(rows)} samples with their 95 % interval. The net is asked about recorded pictures, coarser than "
            f"its inputs were; offered are the {int(found.faithful.sum()):,} of {len(found.samples):,} from which it "
            "gives the recorded class with a confidence within 0.1.",
            width="stretch",
        )
        parts.figure_download(fig, f"{run.name}-attribution")


run = chosen_run()
heading("Where does the net look?", run, selects=True)
reason = why_not(run)
if reason is not None:
    no_net(reason)
with st.spinner("Rebuilding the net…", show_time=True):
    try:
        found = rebuilt(run.path, run.fingerprint(), run)
    except WorkbenchError as error:
        no_net(str(error))
frame = recorded(run, found)
if frame.empty:
    no_net("From none of the recorded pictures does the rebuilt net give the recorded answer.")
view = one_of("Ask about", [MAPS, CONCEPTS, TRAINING], "ask")
if view == MAPS:
    maps_view(run, found, frame)
elif view == CONCEPTS:
    concepts.section(run, found, frame)
else:
    influence.section(run, found)
with st.expander("How to read this", icon=":material/help:"):
    st.markdown({MAPS: HELP, CONCEPTS: concepts.HELP, TRAINING: influence.HELP}[view])
parts.problems(run)
