"""The formats that can be opened, and how one is chosen for a path."""

from __future__ import annotations

import logging
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from workbench.core import Run, RunFormatError
from workbench.runs import (
    cockpit,
    domainbed,
    label_files,
    libmtl,
    lightning,
    mammoth,
    mlflow,
    mlflow_database,
    tables,
    tensorboard,
    trackio,
    transformers,
    vectors,
    wandb,
    weights,
    wilds,
)
from workbench.runs.foreign import ForeignRun
from workbench.runs.format import Format

logger = logging.getLogger(__name__)

#: Foreign formats, the more specific ones first.
FORMATS: tuple[Format, ...] = (
    domainbed.FORMAT,
    transformers.FORMAT,
    lightning.FORMAT,
    wandb.FORMAT,
    mlflow.FORMAT,
    mlflow_database.FORMAT,
    trackio.FORMAT,
    wilds.FORMAT,
    mammoth.FORMAT,
    libmtl.FORMAT,
    cockpit.FORMAT,
    vectors.FORMAT,
    label_files.FORMAT,
    tensorboard.FORMAT,
    tables.FORMAT,
    weights.FORMAT,
)


#: Why a folder of Aim does not open, and what to do.
AIM = (
    "it is a repository of Aim, whose storage only Aim's own package can read. Save its metrics there as a table with "
    "the columns run, step, name and value (Repo.query_metrics gives them), one file a run, and open that."
)


def is_aim(path: Path) -> bool:
    """Whether a folder is, or holds, a repository of Aim."""
    return (path / ".aim").is_dir() or (path.name == ".aim" and path.is_dir())


@cache
def all_formats() -> tuple[Format, ...]:
    """Our formats, then those that other packages publish as entry points ``workbench.readers`` (a Format each)."""
    published = []
    for point in entry_points(group="workbench.readers"):
        found = point.load()
        if isinstance(found, Format):
            published.append(found)
        else:
            logger.warning("The entry point %s is no Format and was left out.", point.value)
    return (*FORMATS, *published)


def format_of(path: Path) -> Format | None:
    """The foreign format of a file or folder; None when it is none that is known."""
    for candidate in all_formats():
        try:
            if candidate.recognises(path):
                return candidate
        except OSError as error:
            logger.debug("%s: %s", path, error)
    return None


def is_run(path: Path) -> bool:
    """Whether a path can be opened as a run, by names and first bytes."""
    return (path / "run.json").is_file() or format_of(path) is not None


def open_run(path: str | Path) -> Run:
    """Open one run: a run folder of ours, or a log of another program.

    Raises:
        RunFormatError: the path is neither (names the formats that are known), or holds several runs.
    """
    found = open_members(Path(path))
    if len(found) != 1:
        names = ", ".join(found) or "none"
        raise RunFormatError(f"{path} holds {len(found)} runs ({names}). Open them with open_runs, and choose one.")
    return next(iter(found.values()))


def open_members(place: Path) -> dict[str, Run]:
    """The run or runs that a path holds, by name; the name is empty where the path is one run.

    Raises:
        RunFormatError: the path is no run of any known format.
    """
    if (place / "run.json").is_file():
        return {"": Run(place)}
    if not place.exists():
        raise RunFormatError(f"{place} does not exist.")
    found = format_of(place)
    if found is None:
        if is_aim(place):
            raise RunFormatError(f"{place}: {AIM}")
        known = ", ".join(candidate.name for candidate in all_formats())
        raise RunFormatError(
            f"{place} is not a run: it has no run.json and is no log of a known format ({known}). "
            "Give a run folder, or open the folder that holds several."
        )
    if found.members is None:
        return {"": ForeignRun(place, found)}
    return {name: ForeignRun(place, member) for name, member in found.members(place).items()}
