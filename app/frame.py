"""The frame of a lens's page: question, verdicts, main figure, further figures, numbers, help.

page = lens_page("conflict")             # ends the page with what is missing when the run cannot be read
page.main(step=step(page.stats.steps))
page.further({"ladder": lambda: {...}})  # options of a view, drawn only while its tab is open
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

import parts
import selection
from choice import SAMPLES, chosen_run, collection, current, folders, look_at, valid
from readings import reading
from workbench.core import MissingTable, Run, WorkbenchError
from workbench.core.tables import TABLES
from workbench.lenses import Lens, Reading, View, lens
from workbench.lenses.board import state
from workbench.lenses.compare import trained_alike
from workbench.lenses.links import first_verdict, lacking
from workbench.lenses.sample_sets import SampleSet

Options = Mapping[str, Any]
#: Draws a figure under a key by other means than the chart element.
Draw = Callable[[Any, str], None]


@dataclass(frozen=True)
class LensPage:
    """A run seen through a lens, being drawn."""

    reading: Reading
    #: The row between the verdicts and the main figure.
    controls: DeltaGenerator
    #: Samples chosen here or on another page; None where there are none.
    selected: SampleSet | None = None

    @property
    def run(self) -> Run:
        return self.reading.run

    @property
    def lens(self) -> Lens:
        return self.reading.lens

    @property
    def stats(self) -> Any:
        return self.reading.stats

    def main(self, chart: Options | None = None, draw: Draw | None = None, **options: Any) -> Any:
        """The main figure, at a height that needs no scrolling.

        Args:
            chart: Goes to the chart element.
            draw: Draws the figure in place of that element.
        """
        return self._show(self.lens.shown(self.stats)[0], options, parts.MAIN_HEIGHT, chart, draw)

    def further(self, **offers: Any) -> None:
        """The other views and the numbers, one at a time: only the open one is computed. Then the help.

        Args:
            **offers: Options that each view takes if its figure has them. A function draws a widget beside the view and
                returns the value. Figures of two runs get the statistics of the run to compare with, figures of several
                seeds the runs of the folder that were trained alike.
        """
        offers = {
            "other": lambda: _other_stats(self.lens.slug),
            "alike": lambda: trained_alike(self.run, map(current().runs.__getitem__, current().runs)),
        } | offers
        views = {view.slug: view for view in self.lens.shown(self.stats)[1:]}
        titles = {slug: view.title for slug, view in views.items()} | {"numbers": "Numbers"}
        valid("view", list(titles), next(iter(titles)), titles.__getitem__)
        chosen = st.pills(
            "Look further", list(titles), default=next(iter(titles)), required=True, format_func=titles.__getitem__,
            key="view", bind="query-params",
        )  # fmt: skip
        if chosen in views:
            taken = inspect.signature(views[chosen].figure).parameters
            with st.container(horizontal=True, vertical_alignment="bottom"):
                given = {name: offer() if callable(offer) else offer for name, offer in offers.items() if name in taken}
            self._show(views[chosen], given)
        else:
            parts.tables(self.reading.tables, f"{self.run.name}-{self.lens.slug}")
        self._help()
        parts.problems(self.run)

    def _show(
        self,
        view: View,
        options: Options,
        height: int | None = None,
        chart: Options | None = None,
        draw: Draw | None = None,
    ) -> Any:
        try:
            fig = view.figure(self.stats, **options)
        except WorkbenchError as error:
            st.info(parts.prose(str(error)))
            return None
        said = f"{view.title}: {self.reading.verdict.sentence}"
        if height is not None:
            fig.update_layout(height=min(fig.layout.height or height, height))
        file = f"{self.run.name}-{self.lens.slug}-{view.slug}"
        key = f"{self.lens.slug} {view.slug}"
        event = draw(fig, key) if draw else parts.chart(fig, key, said, file=file, **(chart or {}))
        with st.container(horizontal=True, vertical_alignment="top", wrap=False):
            st.caption(view.about or "", width="stretch")
            parts.figure_download(fig, file)
        return event

    def _help(self) -> None:
        with st.expander("How to read this", icon=":material/help:"):
            _question, _, text = inspect.cleandoc(self.lens.doc).partition("\n")
            st.markdown(text.strip() or self.lens.title)


def lens_page(slug: str, choose: Callable[[Any], Options] | None = None) -> LensPage:
    """Draw the question and the verdicts of a lens on the chosen run.

    Ends the page with what is missing, how to record it and where it can be seen when the run cannot be read.

    Args:
        choose: ``choose(stats)`` draws widgets from the statistics with all defaults and returns the options that the
            statistics are to be computed with; what it draws in the page's body lands in ``controls``.
    """
    run, asked = chosen_run(), lens(slug)
    selected = heading(asked.title, run, selects=True)
    said, controls = st.container(), st.container(horizontal=True, vertical_alignment="bottom")
    found = _read(asked, run, {})
    options: Options = {}
    if choose is not None:
        with controls:
            options = changed(found.stats, choose(found.stats))
        found = _read(asked, run, options)
    with said:
        parts.verdict_lines(found.verdicts)
        _other_run(slug, options)
    return LensPage(found, controls, selected)


def changed(stats: Any, options: Options) -> Options:
    """The options that differ from those behind the statistics, so that the defaults are not computed twice."""
    return {name: value for name, value in options.items() if getattr(stats, name, None) != value}


def _read(asked: Lens, run: Run, options: Options) -> Reading:
    try:
        with st.spinner("Reading the run…", show_time=True):
            return reading(run, asked.slug, **options)
    except MissingTable as error:
        empty_state(asked, run, error)
        st.stop()
    except WorkbenchError as error:
        st.info(parts.prose(str(error)), icon=":material/info:")
        parts.problems(run)
        st.stop()


def heading(title: str, run: Run, selects: bool = False) -> SampleSet | None:
    """The title of a page, with the run it is about beside it.

    Args:
        selects: Whether the page shows the selection, which then stands there too and is returned.
    """
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.title(parts.plain(title), anchor=False, width="stretch")
        about = "" if title == run.name else parts.plain(run.name)
        st.markdown(f"{about} {parts.STATUS_BADGES[state(run)]}", width="content")
        return selection.chip(run) if selects else None


def _other_run(slug: str, options: Options) -> None:
    """One line on the run to compare with, when one is chosen."""
    other = current().other
    if other is None:
        return
    verdict, _found = first_verdict(other, lens(slug), lambda run, slug: reading(run, slug, **options))
    said = f"{parts.mark(verdict.level)} {parts.prose(verdict.sentence)}"
    st.markdown(f":small[:gray[In comparison, {parts.plain(other.name)}:]] {said}")


def _other_stats(slug: str) -> Any:
    """What the lens knows of the run to compare with; None without one, or where the lens cannot read it."""
    other = current().other
    found = None if other is None else first_verdict(other, lens(slug), reading)[1]
    return None if found is None else found.stats


def empty_state(asked: Lens, run: Run, error: MissingTable) -> None:
    """What a lens needs, which of it the run lacks, how to record it, and a sample run that has it."""
    missing = lacking(asked, run, error)
    needs = asked.needs or missing
    if not missing:
        st.info(parts.prose(str(error)), icon=":material/info:")
        return
    st.info(
        f"{parts.plain(run.name)} did not record what this question needs.",
        icon=":material/inbox:",
        title="Nothing to read yet",
    )
    for table in needs:
        sign = ":red-badge[✕ missing]" if table in missing else ":green-badge[✓ recorded]"
        st.markdown(f"{sign} `{table}`: {TABLES[table].about}")
    st.markdown("Record it in the training loop with")
    lines = "\n\n".join(TABLES[table].record for table in missing)
    st.code(f'with workbench.Recorder("runs/mine") as rec:\n    ...\n{_indented(lines)}', language="python")
    example = sample_with(needs)
    if example is not None:
        st.button(
            f"See it in the sample run {parts.plain(example)}",
            on_click=look_at,
            kwargs={"run": example, "folder": SAMPLES},
            icon=":material/visibility:",
            key="show sample",
        )


def sample_with(needs: Iterable[str]) -> str | None:
    """The key of a sample run that recorded all of these tables."""
    samples = folders().get(SAMPLES) or next(iter(folders().values()), None)
    if samples is None:
        return None
    return next((key for key, run in collection(samples).items() if all(run.has(table) for table in needs)), None)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" if line else "" for line in text.splitlines())
