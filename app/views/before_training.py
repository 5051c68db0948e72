"""Which tasks will fight? A forecast from a short probe of the user's own model and data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

import background
import came_true
import parts
from choice import SAMPLES, TRAINED, UPLOADS, collection, current, trained, valid
from problem_files import problem_files
from widgets import one_of
from workbench.core import Run, WorkbenchError
from workbench.forecast import figures, is_forecast, read_forecast
from workbench.forecast.plan import MAX_STEPS
from workbench.forecast.templates import TEMPLATES, write

VIEWS = {
    "where": "Where",
    "matrix": "Who pays for whom",
    "trajectories": "Losses on the way",
    "numbers": "Numbers",
}
HELP = """
From each of several seeds the tasks are trained for a short while: each alone, every two together, and all together,
always from the same weights and on the same batches. The **cost of sharing** is how much higher the lowest held-out
loss stays with the other task than alone, in percent of the loss at the start; below 0 sharing helps. The 95 % interval
is over seeds (Student's t). A pair is called a *conflict* when the whole interval lies above 2 %, *help* below 0,
*neither* within ± 5 %, with at most 5 % false discoveries over all pairs (Benjamini-Hochberg); otherwise it is
*undetermined*, and the sentence says how many seeds would settle it.

**Where**: the cosine of the two tasks' gradients in every shared module, at the start and on the way, as the conflict
lens measures it. **All together** is measured too, not added up from pairs. When there is no time for pairs, the cost
is estimated from what one gradient step of a task does to the others' losses, in shares of their own progress.

A forecast sees the beginning of a training. Costs that come late, when tasks have used up the room they share, show
only if the trajectories are long enough: compare with each task alone once on the real length.

Sources: Fifty et al. 2021, arXiv:2109.04617 (lookahead and groups); Yu et al. 2020, arXiv:2001.06782 (conflict). The
cost, its call and the groups are this project's choices.
"""


@st.cache_resource(max_entries=16, show_spinner=False)
def forecast_of(path: Path, fingerprint: str, _run: Run) -> Any:
    return read_forecast(_run)


def place() -> Path:
    """Where problem files are looked for and forecasts are written: the chosen folder, else one of the app's own."""
    choice = current()
    own = choice.folder in (SAMPLES, TRAINED, UPLOADS, "")
    return trained() if own else choice.runs.folder


def new_file(folder: Path) -> None:
    """Write a template into the folder."""
    with st.popover("New problem file", icon=":material/note_add:"):
        st.markdown("An example that runs as it is. Change it to your training in any editor.")
        name = st.radio("Template", list(TEMPLATES), format_func=lambda key: f"{key}: {TEMPLATES[key]}")
        st.button("Write it", key="write", icon=":material/save:", on_click=write_template, args=(name, folder))
        if "not written" in st.session_state:
            st.error(parts.plain(st.session_state.pop("not written")))


def write_template(name: str, folder: Path) -> None:
    try:
        st.session_state["problem"] = write(name, folder / f"{name}.py")
    except WorkbenchError as error:
        st.session_state["not written"] = str(error)


def title_of(folder: Path, file: Path) -> str:
    """Under which the work is found again, on any page."""
    return f"diagnose {folder.name}/{file.relative_to(folder)}"


def running(folder: Path, file: Path) -> bool:
    work = background.find(title_of(folder, file))
    return work is not None and work.state == "running"


def probe(folder: Path, first: bool) -> None:
    """Choose a problem file and a budget, run the probe beside the app, follow it. Folded where there is a result."""
    files = problem_files(folder)
    unfolded = first or any(running(folder, file) for file in files)
    with st.expander("Probe your own model and data", expanded=unfolded, icon=":material/labs:"):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            file = st.selectbox(
                "Problem file", files, key="problem", format_func=lambda path: str(path.relative_to(folder)),
                placeholder="none yet: write one from a template", width="stretch",
            )  # fmt: skip
            budget = int(st.number_input("Seconds", 5, 7200, 120, 30, key="budget", width=130))
            seeds = int(st.number_input("Seeds", 2, 64, 4, key="seeds", width=110, help="Intervals are over seeds."))
            steps = int(
                st.number_input("Steps at most", 1, 100_000, MAX_STEPS, 50, key="steps", width=150,
                                help="The nearer to the planned training, the truer the forecast.")
            )  # fmt: skip
            new_file(folder)
        st.caption(
            f"Diagnosing executes the chosen file, your own code, on this machine, as `workbench diagnose` would. "
            f"Offered are files below {parts.plain(str(folder))} that look like one; none is run before you press the "
            "button."
        )
        if file is not None:
            run_probe(folder, file, budget, seeds, steps)


def run_probe(folder: Path, file: Path, budget: int, seeds: int, steps: int) -> None:
    title, out = title_of(folder, file), folder / f"forecast-{file.stem}"
    work = background.find(title)
    if not running(folder, file):
        label = "Diagnose" if work is None else "Diagnose again"
        if st.button(label, key="diagnose", type="primary", icon=":material/play_arrow:"):
            options = {"out": out, "budget": budget, "seeds": seeds, "steps": steps}
            line = [f"--{name}={value}" for name, value in options.items()]
            background.start(title, ["diagnose", *line, "--overwrite", str(file)])
            st.session_state["awaited"] = out
            st.rerun()
    if work is not None and background.follow(work) in ("done", "stopped") and st.session_state.get("awaited") == out:
        del st.session_state["awaited"]
        collection.clear()
        st.session_state["forecast"] = out.name
        st.rerun()


def forecasts(folder: Path) -> dict[str, Run]:
    """The forecasts in the folder, and those among the sample runs."""
    found = dict(collection(folder).items()) if folder.is_dir() else {}
    found |= {key: run for key, run in current().runs.items() if key not in found}
    return {key: run for key, run in found.items() if run.info.method == "forecast" and is_forecast(run)}


def result(run: Run) -> None:
    """Verdicts, the costs, one further view, the numbers."""
    try:
        found = forecast_of(run.path, run.fingerprint(), run)
    except WorkbenchError as error:
        st.error(parts.plain(str(error)), icon=":material/broken_image:")
        return
    verdicts = found.verdicts()
    parts.verdict_lines(verdicts, lines=4)
    parts.chart(
        figures.costs(found), "costs", verdicts[0].sentence, min(parts.MAIN_HEIGHT, 140 + 30 * len(found.pairs))
    )
    st.caption(
        f"{found.n_seeds} seeds × {found.settings['steps']} steps, {parts.plain(str(found.settings['device']))}, "
        f"{found.settings.get('seconds', 0):.0f} s. The grey band is what is too small to be called a conflict. The "
        "same run opens in the Conflicts, Labels and Domains pages."
    )
    first = next(iter(VIEWS))
    valid("view", list(VIEWS), first, VIEWS.__getitem__)
    view = st.pills(
        "Look further", list(VIEWS), default=first, required=True, format_func=VIEWS.__getitem__, key="view",
        bind="query-params",
    )  # fmt: skip
    if view == "matrix":
        parts.chart(figures.matrix(found), "matrix", "What sharing with a row's task costs a column's task")
    elif view == "where":
        pairs = [
            f"{row.task_a} – {row.task_b}" for row in found.pairs.sort_values("cost", ascending=False).itertuples()
        ]
        pair = one_of("Pair", pairs, "pair")
        parts.chart(figures.ladder(found, pair), "ladder", f"Cosine of {pair} in every shared module")
    elif view == "trajectories":
        task = one_of("Task", found.tasks, "task")
        parts.chart(figures.trajectories(found, task), "trajectories", f"Held-out loss of {task}")
    else:
        parts.tables(found.tables(), run.name)


st.title("Which tasks will fight?", anchor=False)
where = place()
known = forecasts(where)
probe(where, first=not known)
if known:
    newest = sorted(known, key=lambda key: known[key].info.created, reverse=True)
    chosen = current().key if current().key in known else newest[0]
    result(known[one_of("Forecast", newest, "forecast", first=chosen) if len(known) > 1 else newest[0]])
else:
    st.info(
        "No forecast here yet. Write a problem file from a template, or choose your own, and press Diagnose.",
        icon=":material/inbox:",
    )
came_true.section()
with st.expander("How to read this", icon=":material/help:"):
    st.markdown(HELP)
