"""Any figure of a run by its name: ``conflict`` (the main figure of a lens), ``conflict/ladder`` (another view of it),
``scalars`` (losses and accuracies over steps) or ``histograms`` (those of one tag; option ``tag``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from workbench.core import ConfigError, MissingTable, Run, WorkbenchError
from workbench.lenses import LENSES, histograms, lens, read, scalars
from workbench.lenses.links import taken

if TYPE_CHECKING:
    import plotly.graph_objects as go

SCALARS, HISTOGRAMS = "scalars", "histograms"


def names() -> list[str]:
    """Every name that :func:`draw` knows."""
    views = [f"{item.slug}/{view.slug}" if i else item.slug for item in LENSES for i, view in enumerate(item.views)]
    return [*views, SCALARS, HISTOGRAMS]


def draw(run: Run, name: str, options: Mapping[str, str] | None = None) -> go.Figure:
    """A figure of a run.

    Args:
        name: One of :func:`names`.
        options: Options of the figure as text, as an address of the app holds them, e.g. ``{"step": "300"}``.

    Raises:
        ConfigError: there is no figure of that name, or it has no such option.
        MissingTable: the run did not record what the figure shows.
    """
    if name == SCALARS:
        stats = scalars.statistics(run)
        shown = scalars.first_panels(stats.tags)
        tags = tuple(stats.tags.loc[stats.tags["group"].isin(shown), "tag"])
        return scalars.figure(scalars.statistics(run, tags), names=run.task_names)
    if name == HISTOGRAMS:
        return histograms.figure(histograms.statistics(run, (options or {}).get("tag")))
    slug, _, wanted = name.partition("/")
    chosen = lens(slug)
    view = next((view for view in chosen.views if view.slug == wanted), None if wanted else chosen.views[0])
    if view is None:
        known = ", ".join(view.slug for view in chosen.views)
        raise ConfigError(f"The lens '{slug}' has no view '{wanted}'. Views: {known}.")
    given = dict(options or {})
    known_options = taken(view, given)
    unknown = sorted(set(given) - set(known_options))
    if unknown:
        raise ConfigError(f"The figure '{name}' has no option '{unknown[0]}'.")
    return view.figure(read(run, chosen).stats, **known_options)


def draw_all(run: Run) -> tuple[dict[str, go.Figure], dict[str, str]]:
    """Every figure that can be drawn of a run by name, and why the others cannot."""
    drawn, missing = {}, {}
    for name in names():
        try:
            drawn[name] = draw(run, name)
        except MissingTable as error:
            missing[name] = error.reason
        except WorkbenchError as error:
            missing[name] = str(error).partition("\n")[0]
    return drawn, missing
