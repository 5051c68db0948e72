"""Which folder and which run are being looked at: pickers in the sidebar, mirrored in the address."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from parts import plain
from workbench.cli.app import FOLDERS_VARIABLE
from workbench.core import Run, RunFormatError, WorkbenchError
from workbench.core.files import cache_folder
from workbench.runs import RunCollection, open_runs, sample_runs
from workbench.runs.formats import is_run
from workbench.runs.uploads import inside, uploads

SAMPLES = "Sample runs"
UPLOADS = "Uploads"
TRAINED = "Trained here"
# The sample run that is opened first: all five lenses have a finding in it.
FIRST_SAMPLE = "scenes-two-datasets/cross-entropy"


@dataclass(frozen=True)
class Choice:
    """What the sidebar says: a folder, one of its runs (None in an empty folder), and perhaps a second one."""

    folder: str
    runs: RunCollection
    run: Run | None
    key: str | None
    other: Run | None
    other_key: str | None


def trained() -> Path:
    """Where demos that are trained from a page put their runs."""
    return cache_folder() / "trained"


def folders() -> dict[str, Path]:
    """The folders the app was started on, by a short name; then uploads, demos trained here, and the sample runs.

    A place inside one of them that the address or a pasted path names is a folder of its own. Nothing outside them is
    ever read.
    """
    try:
        samples = sample_runs()
    except RunFormatError:
        samples = None
    found: dict[str, Path] = {}
    for text in json.loads(os.environ.get(FOLDERS_VARIABLE, "[]")):
        path = Path(text)
        if path != samples:
            name = path.name or str(path)
            found[name if name not in found else str(path)] = path
    if uploads().is_dir() and any(uploads().glob("[!.]*")):
        found[UPLOADS] = uploads()
    if trained().is_dir():
        found[TRAINED] = trained()
    if samples is not None:
        found[SAMPLES] = samples
    asked = st.session_state.get("folder") or st.query_params.get("folder")
    if asked and asked not in found:
        with suppress(WorkbenchError):
            place = inside(asked, found.values())
            if place.is_dir() or is_run(place):
                found[asked] = place
    return found


@st.cache_resource(ttl=5, max_entries=16, show_spinner=False)
def collection(folder: Path) -> RunCollection:
    """The runs of a folder, looked up again after a few seconds."""
    return open_runs(folder)


@st.cache_resource(max_entries=64, show_spinner=False)
def _opened(path: Path, fingerprint: str) -> Run:
    return Run(path)


def opened(run: Run) -> Run:
    """The run as it is on disk now; the same object as long as nothing changed."""
    if run.source is not None:  # the log of another program looks for changes by itself
        return run
    fresh = Run(run.path)
    return _opened(run.path, fresh.fingerprint())


def valid(key: str, options: Sequence[Any], default: Any, name: Callable[[Any], str] = str) -> None:
    """Make a remembered, linked or pasted widget value one of the options, else the default.

    An address holds the shown name of an option; the options of a verdict hold the option itself, as text.
    """
    value = st.session_state.get(key)
    if value is None:
        value = st.query_params.get(key)
        known = value is None or value in map(name, options)
    else:
        known = value in options
    if not known:
        st.session_state[key] = next((option for option in options if str(option) == str(value)), default)


def choose() -> Choice:
    """Draw the pickers and return what is chosen."""
    if "look at" in st.session_state:
        look_at(*st.session_state.pop("look at"))
    places = folders()
    if not places:
        return Choice("", RunCollection(Path(__file__).parent), None, None, None, None)
    folder = next(iter(places))
    if len(places) > 1:
        folder = _picked("Folder", list(places), "folder")
    runs = _known(places[folder])
    keys = sorted(runs, key=lambda key: (folder != SAMPLES or key != FIRST_SAMPLE, key))
    if not keys:
        return Choice(folder, runs, None, None, None, None)
    key = _picked("Run", keys, "run")
    others = [other for other in keys if other != key]
    valid("compare", others, None)
    other = st.selectbox(
        "Compare with",
        others,
        index=None,
        key="compare",
        bind="query-params",
        placeholder="no other run",
        help="A second run of the same folder, shown beside this one on the Compare page.",
    )
    return Choice(folder, runs, opened(runs[key]), key, opened(runs[other]) if other else None, other)


def _known(folder: Path) -> RunCollection:
    """The runs of a folder, looked up again at once when one is asked for that was not there."""
    runs = collection(folder)
    asked = st.session_state.get("run") or st.query_params.get("run")
    if asked and asked not in runs:
        collection.clear(folder)
        runs = collection(folder)
    return runs


def _picked(label: str, options: list[str], key: str) -> str:
    """One of the options. The first is the default, and the address leaves it out."""
    valid(key, options, options[0])
    return str(st.selectbox(label, options, key=key, bind="query-params"))


def look_at(run: str, compare: str | None = None, folder: str | None = None) -> None:
    """Choose a run before the pickers are drawn, e.g. in a callback."""
    if folder is not None:
        st.session_state["folder"] = folder
    st.session_state["run"] = run
    if compare is not None:
        st.session_state["compare"] = compare


def look_later(run: str, compare: str | None = None, folder: str | None = None) -> None:
    """Choose a run in the next rerun, when the pickers of this one are already drawn."""
    st.session_state["look at"] = (run, compare, folder)


def current() -> Choice:
    """What the sidebar said in this rerun."""
    choice: Choice = st.session_state["choice"]
    return choice


def chosen_run() -> Run:
    """The chosen run; ends the page with a sentence when the folder holds none."""
    choice = current()
    if choice.run is None:
        st.info(
            f"There are no runs in {choice.runs.folder}. Record one with workbench.Recorder, or choose another folder.",
            icon=":material/folder_off:",
        )
        st.stop()
    for run in (choice.run, choice.other):
        try:
            if run is not None:
                run.sync()
        except WorkbenchError as error:
            st.error(plain(str(error)), icon=":material/broken_image:")
            st.stop()
    return choice.run
