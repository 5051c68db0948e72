"""What every lens is made of: a verdict in words, figures, and tables, all from one set of statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from workbench.core import MissingTable, Run, WorkbenchError

if TYPE_CHECKING:
    import plotly.graph_objects as go

Level = Literal["problem", "watch", "cannot tell", "fine"]
#: From the one to read first to the one to read last.
LEVELS: tuple[Level, ...] = ("problem", "watch", "cannot tell", "fine")
#: A mark for every level, so that the level never depends on colour alone.
MARKS: Mapping[Level, str] = {"problem": "▲", "watch": "◆", "cannot tell": "?", "fine": "●"}


@dataclass(frozen=True)
class Verdict:
    """One sentence a lens says about a run.

    Attributes:
        sentence: Plain words with the number, its unit and its 95 % interval.
        next_step: What to try, look at or record next.
        value, low, high: The number of the sentence and its interval, for machines.
        options: The options of the lens's page that show it, e.g. ``{"step": "300"}``.
    """

    level: Level
    sentence: str
    next_step: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{MARKS[self.level]} {self.level}: {self.sentence}" + (
            f" Next: {self.next_step}" if self.next_step else ""
        )


@dataclass(frozen=True)
class View:
    """One figure of a lens. ``figure(stats, **options)`` draws and computes nothing.

    ``about`` says in one or two sentences what the axes are and what the reader decides by it. ``applies(stats)``: a
    view that most runs have nothing for is offered only where it is true.
    """

    slug: str
    title: str
    figure: Callable[..., go.Figure]
    about: str = ""
    applies: Callable[[Any], bool] = lambda stats: True


@dataclass(frozen=True)
class Lens:
    """A question to a run.

    Attributes:
        slug: Name in addresses and commands.
        title: The question, as the page's title.
        doc: The help text: the module docstring, first line the question.
        needs: Tables without which nothing can be said.
        statistics: ``statistics(run, **options)``: tables in, a frozen dataclass of arrays and DataFrames out.
        verdicts: ``verdicts(stats)``: worst first, never empty.
        views: The main figure first.
        tables: ``tables(stats)``: title -> DataFrame, the numbers behind the figures, for download.
    """

    slug: str
    title: str
    doc: str
    needs: tuple[str, ...]
    statistics: Callable[..., Any]
    verdicts: Callable[[Any], list[Verdict]]
    views: tuple[View, ...]
    tables: Callable[[Any], dict[str, pd.DataFrame]]

    def check(self, run: Run) -> Run:
        """The run itself. Raises MissingTable, with the lines to record it, when a needed table is absent."""
        run.require(*self.needs)
        return run

    def shown(self, stats: Any) -> tuple[View, ...]:
        """The views that have something to show, the main one first."""
        return tuple(view for view in self.views if view.applies(stats))

    def figure(self, stats: Any, **options: Any) -> go.Figure:
        """The main figure."""
        return self.shown(stats)[0].figure(stats, **options)


@dataclass(frozen=True)
class Reading:
    """A run seen through a lens. In a notebook it shows its verdicts and the main figure."""

    run: Run
    lens: Lens
    stats: Any

    @property
    def verdicts(self) -> list[Verdict]:
        return sorted(self.lens.verdicts(self.stats), key=lambda verdict: LEVELS.index(verdict.level))

    @property
    def verdict(self) -> Verdict:
        """The one to read first."""
        return self.verdicts[0]

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        return self.lens.tables(self.stats)

    def figure(self, view: str | None = None, **options: Any) -> go.Figure:
        """The main figure, or the view of that slug. Raises WorkbenchError naming the views otherwise."""
        if view is None:
            return self.lens.figure(self.stats, **options)
        for candidate in self.lens.views:
            if candidate.slug == view:
                return candidate.figure(self.stats, **options)
        known = ", ".join(candidate.slug for candidate in self.lens.views)
        raise WorkbenchError(f"The lens '{self.lens.slug}' has no view '{view}'. Views: {known}.")

    def _ipython_display_(self) -> None:
        from IPython.display import Markdown, display

        lines = [f"**{self.lens.title}** ({self.run.name})", *(f"- {verdict}" for verdict in self.verdicts)]
        display(Markdown("\n".join([lines[0], "", *lines[1:]])))
        display(self.figure())


def read(run: Run, lens: Lens, **options: Any) -> Reading:
    """Compute a lens's statistics on a run. Raises MissingTable when the run lacks a record."""
    return Reading(run, lens, lens.statistics(lens.check(run), **options))


def verdict_of(run: Run, lens: Lens) -> Verdict:
    """The first verdict of a lens; "cannot tell" where the run lacks a table or holds too little."""
    try:
        return read(run, lens).verdict
    except MissingTable as error:
        return Verdict("cannot tell", error.reason, next_step=f"Record it with {error.record}" if error.record else "")
    except WorkbenchError as error:
        return Verdict("cannot tell", str(error))
