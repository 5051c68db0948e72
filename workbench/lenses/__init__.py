"""The five lenses: numbers of a run into verdicts, figures and tables.

from workbench.lenses import look
look(run, "conflict")              # verdicts and the main figure, in a notebook
look(run, "conflict").tables       # the numbers behind them
"""

from __future__ import annotations

from typing import Any

from workbench.core import ConfigError, Run
from workbench.lenses import bias, conflict, domains, gsnr, labels
from workbench.lenses.base import LEVELS, MARKS, Lens, Level, Reading, Verdict, View, read, verdict_of

#: Every lens, in the order of the app's navigation.
LENSES: tuple[Lens, ...] = (conflict.LENS, gsnr.LENS, bias.LENS, labels.LENS, domains.LENS)

__all__ = [
    "LENSES",
    "LEVELS",
    "MARKS",
    "Lens",
    "Level",
    "Reading",
    "Verdict",
    "View",
    "lens",
    "look",
    "read",
    "verdict_of",
    "verdicts",
]


def lens(slug: str) -> Lens:
    """The lens of that name. Raises ConfigError with the known names otherwise."""
    for candidate in LENSES:
        if candidate.slug == slug:
            return candidate
    raise ConfigError(f"There is no lens '{slug}'. Lenses: {', '.join(candidate.slug for candidate in LENSES)}.")


def look(run: Run, slug: str, **options: Any) -> Reading:
    """See a run through a lens. Raises MissingTable when the run did not record what the lens needs."""
    return read(run, lens(slug), **options)


def verdicts(run: Run) -> dict[str, Verdict]:
    """The first verdict of every lens by its slug, worst first."""
    found = {candidate.slug: verdict_of(run, candidate) for candidate in LENSES}
    return dict(sorted(found.items(), key=lambda item: LEVELS.index(item[1].level)))
