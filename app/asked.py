"""The net that the attribution page asks: rebuilt from a demo's recipe, or built by the user's own problem file.

asked = choose(run)       # draws what there is to choose; ends the page when there is no net

A problem file is executed only when it was named on the command line, or after a button on the page: the file, as it
was shown. Nothing that a run holds is ever executed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

import parts
from choice import SAMPLES, collection, current, folders, look_at
from problem_files import named, problem_files
from workbench.core import Run, WorkbenchError
from workbench.demos.rebuilt import why_not
from workbench.demos.training_data import why_not_redrawn
from workbench.runs.checkpoint_files import of_run

#: Which files, each with its content, may be executed in this session.
CONFIRMED = "confirmed problem files"
#: The weights before any training.
FRESH = "fresh, as before training"
RECORDED, OWN = "the recorded demo", "a problem file"


@dataclass(frozen=True)
class Asked:
    """A net with its samples, and where more of it comes from.

    Attributes:
        key: Tells apart what is cached.
        subject: The net, the samples and what it says of them (:class:`workbench.diagnostics.subject.Subject`).
        frame: Of the samples that can be asked about: loss per task, targets, attributes; index sample.
        attributes: Columns of ``frame`` with few levels.
        numbered: Whether the samples have the numbers of the run's tables, so that selections apply.
        words: Where the inputs come from, in one sentence.
        files: Checkpoints by step, the asked one among them.
        load: A checkpoint's net.
        data: Draws what was trained on and what is tested with; raises WorkbenchError.
        no_data: Why that cannot be; None where it can be tried.
        rate: Step size of the training.
        classes: Task -> names of its classes, as far as they are known.
        recorded: Layers that the run names; those are offered before others.
        demo: Whether it is a demo's net, which can be trained again.
    """

    key: tuple[str, ...]
    subject: Any
    frame: pd.DataFrame
    attributes: tuple[str, ...]
    numbered: bool
    words: str
    files: Mapping[int, Path]
    load: Callable[[Path], Any]
    data: Callable[[], Any]
    no_data: str | None
    rate: float
    classes: Mapping[str, tuple[str, ...]]
    recorded: tuple[str, ...]
    demo: bool

    def layers(self) -> list[Any]:
        """The layers that can be asked about (:class:`workbench.diagnostics.layers.Layer`). Loads torch."""
        found = _layers(self.key, self.subject)
        return [layer for layer in found if layer.name in self.recorded] or list(found)

    def convolutions(self) -> list[str]:
        """The layers that maps can be made of."""
        return [layer.name for layer in _layers(self.key, self.subject) if layer.convolution]

    def name(self, task: str, index: float) -> str:
        """A class in words."""
        names = self.classes.get(task, ())
        known = pd.notna(index) and 0 <= int(index) < len(names)
        return names[int(index)] if known else "unknown" if pd.isna(index) else str(int(index))


@st.cache_resource(max_entries=16, show_spinner=False)
def _layers(key: tuple[str, ...], _subject: Any) -> tuple[Any, ...]:
    from workbench.diagnostics.layers import layers

    return layers(_subject.net, _subject.inputs[:2], _subject.forward)


def choose(run: Run) -> Asked:
    """The net to ask. Ends the page with the reason, and the ways there are, when there is none."""
    reason = why_not(run)
    files = _offered()
    way = RECORDED
    if reason is None and files:
        way = st.segmented_control("Net of", [RECORDED, OWN], default=RECORDED, required=True, key="net of") or RECORDED
    if reason is None and way == RECORDED:
        try:
            with st.spinner("Rebuilding the net…", show_time=True):
                found = _recorded(run.path, run.fingerprint(), run)
            if len(found.frame):
                return found
            reason = "From none of the recorded pictures does the rebuilt net give the recorded answer."
        except WorkbenchError as error:
            reason = str(error)
    if not files:
        _no_net(reason or "")
    chosen = _own(run, files)
    if chosen is None:
        if way == RECORDED:
            st.caption(parts.prose(f"The run alone does not tell its net. {reason}"))
        st.stop()
    return chosen


# -- demos -----------------------------------------------------------------------------------------------------------


@st.cache_resource(max_entries=8, show_spinner=False)
def _recorded(path: Path, fingerprint: str, _run: Run) -> Asked:
    """The net of a demo run, with its own test samples where they can be drawn again. Loads torch."""
    from workbench.demos.nets import load_net
    from workbench.demos.rebuilt import rebuild
    from workbench.demos.training_data import training_data

    data, no_data = None, why_not_redrawn(_run)
    if no_data is None:
        try:
            data = training_data(_run)
        except WorkbenchError as error:
            no_data = str(error)
    subject = rebuild(_run, data[1] if data is not None else None)
    frame = _run.query("SELECT * EXCLUDE (thumbnail) FROM samples").drop_duplicates("sample").set_index("sample")
    losses = _run.query(
        "SELECT sample, task, any_value(loss) AS loss FROM predictions WHERE step = ? GROUP BY ALL", [subject.step]
    )
    wide = losses.pivot(index="sample", columns="task", values="loss").add_prefix("loss ")
    frame = frame.join(wide).loc[subject.samples[subject.faithful]]
    offered = f"{int(subject.faithful.sum()):,} of {len(subject.samples):,}"
    exact = f"The net is asked about its own {len(subject.samples):,} test inputs, drawn again from the recipe."
    coarse = (
        "The net is asked about recorded pictures, coarser than its inputs were; offered are the "
        f"{offered} from which it gives the recorded class with a confidence within 0.1."
    )
    return Asked(
        key=(str(path), fingerprint), subject=subject, frame=frame,
        attributes=_few(frame, [a.name for a in _run.info.attributes]), numbered=True,
        words=exact if subject.exact else coarse,
        files={subject.step: _run.checkpoints()[subject.step]}, load=load_net, data=lambda: data, no_data=no_data,
        rate=float(_run.info.config.get("lr", 1.0)), classes={task.name: task.classes for task in _run.info.tasks},
        recorded=tuple(_run.info.layers), demo=True,
    )  # fmt: skip


def _few(frame: pd.DataFrame, names: list[str]) -> tuple[str, ...]:
    """Attributes, domains and datasets with at least 2 and at most 20 levels."""
    known = dict.fromkeys([*names, "domain", "dataset"])
    return tuple(name for name in known if name in frame and 1 < frame[name].nunique() <= 20)


# -- a problem file --------------------------------------------------------------------------------------------------


def _offered() -> list[Path]:
    """Problem files: those named on the command line, then those in the chosen folder, by their text alone."""
    choice = current()
    below = [] if choice.folder == SAMPLES or not choice.runs.folder.is_dir() else problem_files(choice.runs.folder)
    return list(dict.fromkeys([*named(), *(file.resolve() for file in below)]))


def _own(run: Run, files: list[Path]) -> Asked | None:
    """A problem file with a checkpoint of the run; None while the file may not be executed, or cannot be asked."""
    source = run.info.config.get("forecast", {}).get("source") if run.info.method == "forecast" else None
    start = next((i for i, file in enumerate(files) if file.name == source), 0)
    weights = {entry.name: entry for entry in of_run(run)}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        file = st.selectbox("Problem file", files, start, key="net file", format_func=lambda path: path.name, width=320)
        names = [*reversed(weights), FRESH]
        which = st.selectbox("Weights", names, key="net weights", width=320)
    content = file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if file not in named() and not _confirmed(file, content, digest):
        return None
    entry = weights.get(which)
    step = 0 if entry is None else entry.step or 0
    try:
        with st.spinner("Building the model…", show_time=True):
            return _built(
                run.path, run.fingerprint(), str(file), digest, None if entry is None else entry.path, step, run
            )
    except WorkbenchError as error:
        st.error(parts.plain(str(error)), icon=":material/broken_image:")
        return None


def _confirmed(file: Path, content: bytes, digest: str) -> bool:
    """Whether this content of this file was allowed in this session; else what it is, and the button that allows it."""
    allowed: set[tuple[str, str]] = st.session_state.setdefault(CONFIRMED, set())
    if (str(file), digest) in allowed:
        return True
    st.warning(
        f"To ask its model, **{parts.plain(str(file))}** has to be executed on this machine. Do so only if it is your "
        "own. It is asked again when the file changes.",
        icon=":material/terminal:",
    )
    with st.expander("What it says", icon=":material/code:"):
        st.code(content.decode("utf-8", errors="replace"), language="python", height=320)
    st.button(
        "Execute this file", type="primary", icon=":material/play_arrow:", key="execute", on_click=allowed.add,
        args=((str(file), digest),),
    )  # fmt: skip
    return False


@st.cache_resource(max_entries=4, show_spinner=False)
def _built(
    path: Path, fingerprint: str, file: str, digest: str, checkpoint: Path | None, step: int, _run: Run
) -> Asked:
    """The problem's model with these weights. Executes the file; loads torch."""
    from workbench.forecast import load_model, load_problem
    from workbench.forecast.asked import ask, training

    problem = load_problem(file)
    diagnosed = _run.info.method == "forecast"
    subject, drawn = ask(problem, checkpoint, step, "batches" if diagnosed else None)
    frame = _frame(subject, drawn)
    rates = [group["lr"] for group in problem.make_optimizer(subject.net).param_groups]
    seen = "" if problem.validation is not None and not diagnosed else ", which it is trained on"
    held = "validation" if problem.validation is not None and not diagnosed else "batches"
    entries = [entry for entry in of_run(_run) if entry.step is not None]
    files = {int(entry.step or 0): entry.path for entry in entries} if checkpoint is not None else {}
    weights = f"the weights of {checkpoint.name}" if checkpoint is not None else "weights as before training, seed 0"
    names = {task.name: task.classes for task in _run.info.tasks if task.classes}
    no_data = f"The batches hold no class numbers; write targets(batch) in {problem.where}."
    return Asked(
        key=(str(path), fingerprint, file, digest, str(checkpoint)), subject=subject, frame=frame,
        attributes=_few(frame, list(drawn.levels)), numbered=diagnosed or problem.samples is not None,
        words=f"{problem.where} with {weights} is asked about the first {len(frame):,} samples of its {held}{seen}.",
        files={s: f for s, f in files.items() if s <= step}, load=partial(load_model, problem),
        data=lambda: (training(problem, subject.net), drawn),
        no_data=None if drawn.targets else no_data,
        rate=float(max(rates, default=1.0)), classes={t: tuple(names) for t, names in problem.labels.items()} | names,
        recorded=(), demo=False,
    )  # fmt: skip


def _frame(subject: Any, drawn: Any) -> pd.DataFrame:
    """Loss per task in nats, targets and levels of the drawn samples."""
    from workbench.diagnostics.predictions import NO_LABEL

    frame = pd.DataFrame(dict(drawn.levels), index=subject.samples)
    for task, targets in drawn.targets.items():
        frame[f"target_{task}"] = np.where(targets == NO_LABEL, np.nan, targets)
        logits = subject.said[task].logits.astype(np.float64)
        top = logits.max(axis=1, keepdims=True)
        chosen = np.take_along_axis(logits, np.clip(targets, 0, None)[:, None], axis=1)[:, 0]
        loss = np.log(np.exp(logits - top).sum(axis=1)) + top[:, 0] - chosen
        frame[f"loss {task}"] = np.where(targets == NO_LABEL, np.nan, loss)
    frame.index.name = "sample"
    return frame


# -- none ------------------------------------------------------------------------------------------------------------


def _no_net(reason: str) -> None:
    """Why there are no maps, how to make them, and a sample run that has them."""
    st.info(parts.prose(reason), icon=":material/inbox:", title="No net to ask")
    st.markdown(
        "A net of your own is asked through a problem file, which builds the model and draws its batches, with the "
        "weights of one of the run's checkpoints (safetensors, or a PyTorch file of plain tensors). Put it beside the "
        "runs, or name it when the app is started:"
    )
    st.code("workbench diagnose --template heads\nworkbench app runs/ --problem heads.py", language="shell")
    st.markdown("Maps can also be made where the net is:")
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
