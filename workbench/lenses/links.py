"""From a run to its first verdict, and from a verdict to the figure that shows it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from workbench.core import MissingTable, Run, WorkbenchError
from workbench.core.tables import TABLES
from workbench.lenses.base import Lens, Reading, Verdict, View

if TYPE_CHECKING:
    import plotly.graph_objects as go


def lacking(lens: Lens, run: Run, error: MissingTable | None = None) -> tuple[str, ...]:
    """The tables that a lens needs and a run lacks, or those that its error names where it declares none."""
    needs = lens.needs or tuple(name for name in TABLES if f"'{name}'" in str(error))
    return tuple(name for name in needs if not run.has(name))


def first_verdict(run: Run, lens: Lens, reading: Callable[[Run, str], Reading]) -> tuple[Verdict, Reading | None]:
    """The first verdict of a lens on a run, and the reading behind it; "cannot tell" and None where there is none.

    Args:
        reading: How to read a run by a lens's slug; a caller that keeps readings gives its own.
    """
    try:
        found = reading(run, lens.slug)
    except MissingTable as error:
        names = " and ".join(lacking(lens, run, error))
        return Verdict("cannot tell", f"This run did not record {names}." if names else str(error)), None
    except WorkbenchError as error:
        return Verdict("cannot tell", str(error).partition("\n")[0]), None
    return found.verdict, found


def figure_of(reading: Reading, verdict: Verdict) -> go.Figure:
    """The view that a verdict names (the main one by default), drawn with those of its options that the view takes."""
    wanted = str(verdict.options.get("view", ""))
    shown = reading.lens.shown(reading.stats)
    view = next((view for view in shown if view.slug == wanted), shown[0])
    try:
        return view.figure(reading.stats, **taken(view, verdict.options))
    except WorkbenchError:  # an option of another step or task than the statistics hold
        return view.figure(reading.stats)


def taken(view: View, options: Mapping[str, str]) -> dict[str, Any]:
    """Those options that a view takes. They are text, as in an address; numbers are made where it takes numbers."""
    parameters = inspect.signature(view.figure).parameters
    found: dict[str, Any] = {}
    for name, text in options.items():
        if name in parameters:
            number = "int" in str(parameters[name].annotation) and str(text).lstrip("-").isdigit()
            found[name] = int(text) if number else text
    return found
