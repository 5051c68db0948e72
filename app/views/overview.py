"""One run: the five verdicts, worst first; its curves; what was trained on what."""

from __future__ import annotations

import pandas as pd
import streamlit as st

import columns
import logged
import parts
from choice import chosen_run
from frame import heading
from readings import reading, scalars
from widgets import some_of
from workbench.core import MissingTable, Run
from workbench.lenses import LENSES, LEVELS, Lens, Reading, Verdict, checkpoint_changes
from workbench.lenses.links import figure_of, first_verdict
from workbench.lenses.scalars import figure, first_panels, main_tag, panels
from workbench.lenses.thumbnail import thumbnail
from workbench.runs import checkpoint_files, checkpoint_series
from workbench.runs.tables import origin_of

#: Checkpoints of this size together are compared when it is asked for.
MOST_BYTES = 300_000_000


def in_address(lens: Lens, verdict: Verdict) -> dict[str, str]:
    """The options of a verdict as an address holds them: a view by its title."""
    titles = {view.slug: view.title for view in lens.views[1:]}
    options = {key: titles.get(value, "") if key == "view" else str(value) for key, value in verdict.options.items()}
    return {key: value for key, value in options.items() if value}


def card(lens: Lens, verdict: Verdict, found: Reading | None) -> None:
    """A verdict with a small picture of the figure that shows it, and a link to the page."""
    with st.container(border=True, height="stretch", gap="small"):
        st.markdown(f"{parts.mark(verdict.level)} **{lens.title}**")
        st.markdown(parts.prose(parts.brief(verdict.sentence)))
        st.space("stretch")
        if found is not None:
            parts.picture(thumbnail(figure_of(found, verdict)), f"card {lens.slug}", verdict.sentence)
        st.page_link(
            f"views/{lens.slug}.py",
            label=f"{parts.LENS_PAGES[lens.slug][0]}: {'see more' if found is not None else 'what is missing'}",
            icon=":material/arrow_forward:",
            icon_position="right",
            query_params=in_address(lens, verdict) or None,
        )


def cards(run: Run) -> None:
    """Five verdicts, worst first."""
    slots = st.container()
    with st.spinner("Reading the run…", show_time=True):
        found = [(lens, *first_verdict(run, lens, reading)) for lens in LENSES]
    # Worst first; what was not recorded comes last, for there is nothing to see of it.
    found.sort(key=lambda item: (item[2] is None, LEVELS.index(item[1].level)))
    with slots:
        for start in range(0, len(found), 3):
            for column, item in zip(st.columns(3), found[start : start + 3], strict=False):
                with column:
                    card(*item)


@st.fragment
def curves(run: Run) -> None:
    """Losses and accuracies over steps."""
    try:
        tags = scalars(run).tags
    except MissingTable as error:
        st.info(parts.prose(error.reason), icon=":material/show_chart:")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        smoothing = st.slider(
            "Smoothing", 0.0, 0.99, 0.0, 0.01, key="smoothing", bind="query-params", width=220,
            help="Weight of the past in an exponential moving average.",
        )  # fmt: skip
        log = st.toggle("Log scale", key="log", bind="query-params")
        shown = some_of("Show only", panels(tags), [], "panels") or first_panels(tags)
    stats = scalars(run, tuple(tags.loc[tags["group"].isin(shown), "tag"]), smoothing)
    said = f"Course of {main_tag(run, list(stats.tags['tag']))} and others over steps"
    fig = figure(stats, log=log, names=run.task_names)
    parts.chart(fig, "curves", said, file=f"{run.name}-scalars")
    left_out = [group for group in panels(tags) if group not in shown]
    with st.container(horizontal=True, vertical_alignment="top", wrap=False):
        st.caption(f"Not shown: {parts.plain(', '.join(left_out))}." if left_out else "", width="stretch")
        parts.figure_download(fig, f"{run.name}-scalars")
    if stats.reduced:
        st.caption(
            "Lines are means over buckets of steps; bands reach from the smallest to the largest value of a bucket."
        )
    for row in stats.tags[stats.tags["not_finite"] > 0].itertuples():
        st.markdown(
            f"{parts.mark('problem')} {parts.plain(row.tag)} is not a finite number in {row.not_finite:,} "
            f"of {row.count:,} logged values, first at step {row.first_not_finite:,}."
        )


def trained(run: Run) -> None:
    """What was trained on what."""
    info = run.info
    facts = {
        "Tasks": ", ".join(f"{task.name} ({task.kind})" for task in info.tasks),
        "Domains": ", ".join(domain.name + (" (held out)" if domain.held_out else "") for domain in info.domains),
        "Datasets": ", ".join(f"{dataset.name} ({len(dataset.labels)} labels)" for dataset in info.datasets),
        "Attributes": ", ".join(run.attribute_names),
        "Method": info.method or "",
        "Recipe": info.recipe or "",
        "Seed": "" if info.seed is None else str(info.seed),
        "Created": info.created,
        "Finished": info.finished or "",
        "Code": " ".join(f"{key} {value}" for key, value in info.code.items()),
        "Versions": ", ".join(f"{name} {version}" for name, version in info.versions.items()),
        "Tables": ", ".join(run.tables),
    }
    left, right = st.columns(2)
    left.table({key: parts.plain(value) for key, value in facts.items() if value}, border="horizontal")
    if info.config:
        right.markdown("**Configuration**")
        right.json(dict(info.config), expanded=True)
    for note in info.notes:
        st.caption(parts.plain(note))


@st.cache_data(max_entries=8, show_spinner=False)
def moved(
    stamp: tuple[tuple[str, int], ...], _entries: list[checkpoint_files.Entry]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    return checkpoint_series.series(_entries)


def checkpoints(run: Run) -> None:
    """What the run or the folder of its log kept, and how much the model moved in between."""
    entries = checkpoint_files.of_run(run)
    if not entries:
        st.caption("This run kept no checkpoints.")
        return
    size = sum(entry.size for entry in entries)
    if size > MOST_BYTES and not st.button(f"Compare {len(entries)} checkpoints ({size / 1e9:.1f} GB)"):
        rows = [{"checkpoint": entry.name, "step": entry.step, "megabytes": entry.size / 1e6} for entry in entries]
        st.dataframe(pd.DataFrame(rows), hide_index=True, alt="Checkpoints by step", width="content")
        return
    with st.spinner("Reading the checkpoints…", show_time=True):
        overall, tensors = moved(tuple((str(entry.path), entry.path.stat().st_mtime_ns) for entry in entries), entries)
    columns = {
        "relative_change": st.column_config.NumberColumn(
            "changed by", help="|after − before| / |before| of all tensors."
        ),
        "most_changed": st.column_config.TextColumn("most in"),
    }
    empty = [name for name in ("problem", "most_changed") if not overall[name].any()]
    shown = overall.drop(columns=empty)
    st.dataframe(shown, hide_index=True, alt="Checkpoints by step", width="content", column_config=columns)
    if len(tensors):
        fig = checkpoint_changes.figure(tensors)
        parts.chart(fig, "checkpoint changes", "Change of every tensor since the checkpoint before it")
        with st.container(horizontal=True, vertical_alignment="top", wrap=False):
            words = (checkpoint_changes.__doc__ or "").split("\n\n", 1)[1]
            st.caption(" ".join(words.split()), width="stretch")
            parts.figure_download(fig, f"{run.name}-checkpoints")


run = chosen_run()
heading(run.name, run)
if run.info.question:
    st.caption(parts.plain(run.info.question))
table = columns.table_of(run)
if table is not None and origin_of(table) == "guessed":
    st.markdown(f"{columns.state(table)} What the columns mean was guessed: see the tab Columns below.")
cards(run)
st.subheader("Losses and accuracies", anchor=False)
curves(run)
shown = {"What was trained on what": lambda: trained(run), "Checkpoints": lambda: checkpoints(run)}
shown |= logged.tabs(run)
if table is not None:
    shown["Columns"] = lambda: columns.editor(table)
for tab, draw in zip(
    st.tabs(list(shown), key="about", on_change="rerun", bind="query-params"), shown.values(), strict=True
):
    if tab.open:
        with tab:
            draw()
parts.problems(run)
