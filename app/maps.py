"""Where does the net look? Maps of single samples, by task and method, with what speaks against each of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

import parts
import selection
from asked import Asked
from choice import valid
from widgets import one_of, some_of
from workbench.core import Run
from workbench.lenses.attribution_figure import attribution_figure
from workbench.lenses.attribution_grid import attribution_grid, values_grid

PICTURES = ("integrated gradients", "occlusion", "grad-cam", "layer conductance", "gradient × input")
#: Methods that ask for no places.
VALUES = ("integrated gradients", "occlusion", "gradient × input")
#: Points of integrated gradients and conductance in the maps, and in the repeated maps behind two of the checks.
POINTS, CHECK_POINTS = 128, 32
#: Which samples are offered; within each, those with the largest loss come first.
WORST, BY_CLASS, BY_ATTRIBUTE, CHOSEN = "worst first", "by class", "by attribute", "the selection"
#: Columns of values that are shown of inputs that are no pictures.
MOST_VALUES = 64
UNITS = {
    "integrated gradients": "logits a pixel",
    "gradient × input": "logits a pixel",
    "occlusion": "logits",
    "grad-cam": "weighted activation",
    "layer conductance": "logits a pixel",
}
HELP = """
Blue places raise the logit of the class that the task names, orange ones lower it. Compared is with a picture of one
colour: the median of each channel, which is the ground the object stands on. (Inputs that are no pictures are compared
with the median of each value over the samples.) With one method, samples stand side by side; with several, methods do.

- **Integrated gradients** share out the whole difference of the logits, pixel by pixel. The *gap* is what of it the
  map misses or adds: large gaps mean a map that cannot be read as shares.
- **Occlusion** is the drop of the logit when a square of 5 by 5 pixels is painted over, **Grad-CAM** a coarse map from
  a convolution, **layer conductance** what of the difference flows through each place of that convolution (its gap is
  that of integrated gradients), **gradient × input** the first-order guess.
- **Infidelity** (*inf*): random rectangles are painted over; this share of the change of the logit is not foreseen by
  the map. 0 is best, 1 says nothing.
- **Sensitivity** (*sens*): how much of the map changes, at most, when every pixel changes by up to 0.02. Here and in
  the next check 32 points on the way from the ground to the picture are used; the maps shown use 128.
- **A net drawn anew** (*new*) has learnt nothing. If its maps look alike (rank correlation near 1), the map shows the
  picture, not what was learnt.

Sources: Sundararajan et al. 2017, Zeiler and Fergus 2014, Selvaraju et al. 2017, Dhamdhere et al. 2018, Yeh et al.
2019, Adebayo et al. 2018.
"""


@st.cache_resource(max_entries=96, show_spinner=False)
def maps_of(
    key: tuple[str, ...], task: str, method: str, layer: str | None, samples: tuple[int, ...], _found: Any
) -> np.ndarray:
    """Maps of what the net says about these samples. Loads torch and captum."""
    from workbench.diagnostics.attribution import attribute

    inputs, about = question(_found, task, method, layer, samples)
    return attribute(_found.net, inputs, n_steps=POINTS, **about)


@st.cache_resource(max_entries=96, show_spinner=False)
def checks_of(
    key: tuple[str, ...], task: str, method: str, layer: str | None, samples: tuple[int, ...], _found: Any
) -> Any:
    """The checks of the same maps."""
    from workbench.diagnostics.attribution import check

    inputs, about = question(_found, task, method, layer, samples)
    maps = maps_of(key, task, method, layer, samples, _found)
    return check(_found.net, inputs, maps, n_steps=CHECK_POINTS, **about)


def question(
    found: Any, task: str, method: str, layer: str | None, samples: tuple[int, ...]
) -> tuple[Any, dict[str, Any]]:
    """The inputs, and what is asked about them: the class that the net names, against the input's own ground."""
    about = asked_of(found, task, samples) | {"method": method}
    return about.pop("inputs"), about | ({"layer": layer} if method in ("grad-cam", "layer conductance") else {})


def asked_of(found: Any, task: str, samples: tuple[int, ...]) -> dict[str, Any]:
    """Inputs, task, the class that the net names for each, baseline and forward."""
    import torch

    from workbench.demos.rebuilt import grounds

    rows = np.searchsorted(found.samples, samples)
    inputs = found.inputs[torch.from_numpy(rows)]
    if inputs.ndim == 4:
        ground = grounds(inputs)
    else:
        ground = found.inputs.median(dim=0).values[None].expand_as(inputs).contiguous()
    target = torch.from_numpy(found.said[task].prediction[rows])
    return {"inputs": inputs, "task": task, "target": target, "baseline": ground, "forward": found.forward}


def flat(maps: np.ndarray, method: str, ndim: int) -> np.ndarray:
    """Maps [N, H, W] of pictures, [N, F] of other inputs: what a place's channels add up to.

    Occlusion covers the channels of a pixel all at once, so they hold the same number.
    """
    if ndim != 4:
        return maps.reshape(*maps.shape[:2], -1).sum(axis=2)
    if maps.ndim == 3:
        return maps
    return maps.mean(axis=1) if method == "occlusion" else maps.sum(axis=1)


def pictures(inputs: np.ndarray) -> np.ndarray:
    """Inputs [N, C, H, W] as pictures in [0, 1]: stretched over all of them where they are not, grey where C is odd."""
    shown = inputs if inputs.shape[1] in (1, 3) else inputs.mean(axis=1, keepdims=True)
    low, high = float(shown.min()), float(shown.max())
    return shown if low >= 0 and high <= 1 else (shown - low) / ((high - low) or 1.0)


def chosen_samples(run: Run, asked: Asked, tasks: list[str], n: int) -> list[int]:
    """Draw the widgets that choose samples; the ones with the largest loss come first."""
    frame, target = asked.frame, f"target_{tasks[0]}"
    chosen = selection.current(run) if asked.numbered else None
    held = frame.index.intersection(list(chosen.samples) if chosen else [])
    can_class, can_level = target in frame and bool(frame[target].notna().any()), bool(asked.attributes)
    orders = [*[CHOSEN] * bool(len(held)), WORST, *[BY_CLASS] * can_class, *[BY_ATTRIBUTE] * can_level]
    order = one_of("Samples", orders, "samples", hint="Within a class or a level, too, the largest loss comes first.")
    if chosen is not None:
        st.caption(f"{len(held):,} of the {len(chosen.samples):,} selected samples can be asked about.")
    if order == CHOSEN:
        frame = frame.loc[held]
    elif order == BY_CLASS:
        classes = [int(c) for c in sorted(frame[target].dropna().unique())]
        of_class = one_of(f"Class of {tasks[0]}", classes, "class", name=lambda c: asked.name(tasks[0], c))
        frame = frame[frame[target] == of_class]
    elif order == BY_ATTRIBUTE:
        attribute = one_of("Attribute", asked.attributes, "attribute")
        level = one_of("Level", sorted(frame[attribute].dropna().unique(), key=str), "level")
        frame = frame[frame[attribute] == level]
    losses = [f"loss {task}" for task in tasks if f"loss {task}" in frame]
    order_of = frame[losses].sum(axis=1).sort_values(ascending=False, kind="stable")
    return [int(sample) for sample in order_of.index[:n]]


def answers(asked: Asked, task: str, rows: np.ndarray) -> list[str]:
    """What the net says about each sample, how surely, and what is true."""
    subject, lines = asked.subject, []
    said = subject.said[task]
    for row in rows:
        if said.logits.shape[1] == 1:
            lines.append(f"{task}: {said.logits[row, 0]:.2f}")
            continue
        target = asked.frame.loc[subject.samples[row]].get(f"target_{task}", np.nan)
        wrong = pd.notna(target) and int(target) != said.prediction[row]
        is_true = f", is {asked.name(task, target)} ✕" if wrong else " ✓" if pd.notna(target) else ""
        lines.append(f"{task}: {asked.name(task, said.prediction[row])} ({said.confidence[row]:.2f}){is_true}")
    return lines


def short(checks: Any) -> list[str]:
    """The checks of every map in a line."""
    return [
        f"inf {infidelity:.2f} · sens {sensitivity:.2f} · new {randomised:.2f}"
        for infidelity, sensitivity, randomised in zip(
            checks.infidelity, checks.sensitivity, checks.randomised, strict=True
        )
    ]


def interval(values: np.ndarray) -> str:
    from workbench.diagnostics.attribution import mean

    found = mean(values)
    if found.n < 2:
        return "not known" if not found.n else f"{found.value:.2f} (1 sample)"
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def checks_line(task: str, method: str, checks: Any) -> str:
    """The checks of one task's maps by one method in one line."""
    said = []
    if np.isfinite(checks.gap).any():
        said.append(f"gap up to {np.nanmax(np.abs(checks.gap)):.2g} of {np.abs(checks.difference).mean():.1f} logits")
    said.append(f"infidelity {interval(checks.infidelity)}")
    said.append(f"sensitivity {interval(checks.sensitivity)}")
    said.append(f"rank correlation with a net drawn anew {interval(checks.randomised)}")
    return f"**{parts.plain(f'{task}, {method}')}** " + parts.plain(" · ".join(said))


def agreement_line(tasks: list[str], method: str, shown: dict[tuple[str, str], np.ndarray]) -> str:
    """How alike the maps of each two tasks are."""
    from workbench.diagnostics.attribution import agreement

    said = []
    for i, left in enumerate(tasks):
        for right in tasks[i + 1 :]:
            both = agreement(shown[left, method], shown[right, method])
            said.append(f"{left} and {right}: cosine {interval(both.cosine)}, rank correlation {interval(both.rank)}")
    return f"**Alike by {method}?** " + parts.plain(" · ".join(said))


def table(samples: list[int], found: dict[tuple[str, str], Any]) -> pd.DataFrame:
    """The checks of every map, a row each."""
    return pd.concat(
        [
            pd.DataFrame({"sample": samples, "task": task, "method": method, **checks.__dict__})
            for (task, method), checks in found.items()
        ],
        ignore_index=True,
    )


def section(run: Run, asked: Asked) -> None:
    """Maps of some samples, what speaks against each, and whether the tasks look at the same places."""
    subject = asked.subject
    convolutions = asked.convolutions() if subject.inputs.ndim == 4 else []
    offered = PICTURES if convolutions else VALUES
    with st.container(horizontal=True, vertical_alignment="bottom"):
        methods = some_of("Methods", offered, offered[:4], "methods", hint="With one, more samples fit.")
        methods = [method for method in offered if method in methods]
        tasks = some_of("Tasks", subject.tasks, subject.tasks[:2], "tasks") if len(subject.tasks) > 1 else subject.tasks
        tasks = [task for task in subject.tasks if task in tasks]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        n = one_of("Number", [3, 6, 12] if len(methods) > 1 else [6, 12], "number", hint="Samples shown.")
        samples = chosen_samples(run, asked, tasks, n)
        layer = None
        if set(methods) & {"grad-cam", "layer conductance"} and len(convolutions) > 1:
            valid("convolution", convolutions, convolutions[-1])
            layer = st.selectbox("Convolution", convolutions[::-1], key="convolution", bind="query-params", width=220)
    keys = [(task, method) for task in tasks for method in methods]
    with st.spinner("Asking the net, and checking its maps…", show_time=True):
        key = (layer, tuple(samples), subject)
        shown = {(t, m): flat(maps_of(asked.key, t, m, *key), m, subject.inputs.ndim) for t, m in keys}
        checks = {(t, m): checks_of(asked.key, t, m, *key) for t, m in keys}
    fig = draw(asked, samples, tasks, methods, shown, checks)
    parts.chart(fig, "attribution", f"{len(samples)} samples with maps of {', '.join(tasks)} by {', '.join(methods)}")
    if len(tasks) > 1:
        st.markdown("  \n".join(agreement_line(tasks, method, shown) for method in methods))
    with st.expander("Checks, mean over the samples", icon=":material/fact_check:", expanded=len(keys) < 3):
        st.markdown("  \n".join(checks_line(task, method, checks[task, method]) for task, method in keys))
    with st.container(horizontal=True, vertical_alignment="top", wrap=False):
        st.caption(
            parts.plain(
                f"Step {subject.step}. Blue speaks for the class the task names, orange against it. Numbers are means "
                f"over the {len(samples)} samples with their 95 % interval. {asked.words}"
            ),
            width="stretch",
        )
        parts.figure_download(fig, f"{run.name}-attribution")
    with st.expander("Numbers", icon=":material/table:"):
        parts.tables({"Checks of every map": table(samples, checks)}, f"{run.name}-attribution")


def draw(
    asked: Asked,
    samples: list[int],
    tasks: list[str],
    methods: list[str],
    shown: dict[tuple[str, str], np.ndarray],
    checks: dict[tuple[str, str], Any],
) -> Any:
    """Samples side by side for one method, methods side by side for several; a table of values without pictures."""
    subject = asked.subject
    rows = np.searchsorted(subject.samples, samples)
    names = [f"sample {sample}" for sample in samples]
    said = {task: answers(asked, task, rows) for task in tasks}
    words = {key: short(found) for key, found in checks.items()}
    if subject.inputs.ndim != 4:
        held = {key: values[:, :MOST_VALUES] for key, values in shown.items()}
        about = ["; ".join([name, *(said[task][i] for task in tasks)]) for i, name in enumerate(names)]
        return values_grid(held, about, [str(i) for i in range(next(iter(held.values())).shape[1])])
    seen = pictures(subject.inputs[rows].numpy())
    if len(methods) > 1:
        heads = {task: [f"{name}<br>{line}" for name, line in zip(names, said[task], strict=True)] for task in tasks}
        titled = {key: [f"{key[1]}<br>{line}" for line in lines] for key, lines in words.items()}
        return attribution_grid(seen, shown, heads, titled)
    (method,) = methods
    about = {task: [f"{a}<br>{b}" for a, b in zip(said[task], words[task, method], strict=True)] for task in tasks}
    return attribution_figure(seen, {task: shown[task, method] for task in tasks}, names, about, UNITS[method])
