"""The run format, version 1: the description in run.json, and what its numbers mean. Its tables are in tables.py.

Column names are the contract between whoever records (our Recorder, readers of foreign logs, other programs) and
whoever reads (lenses, notebooks, other tools). Columns beyond those listed are kept and ignored.
"""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from workbench.core.errors import ConfigError, RunFormatError
from workbench.core.tables import TABLES

SCHEMA_VERSION = 1

#: Edges of the 48 fixed bins of the ``histogram`` column of the ``gsnr`` table, in log10 of the *raw* GSNR
#: (mean² / variance, not corrected for the number of samples). The outermost bins also hold what lies beyond them.
GSNR_LOG10_EDGES = np.linspace(-8.0, 4.0, 49)
#: Probabilities of the ``quantiles`` column of the ``gsnr`` table (also of the raw GSNR).
GSNR_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
#: Shares of all weights at which the masks of GSNR dropout are looked at.
GSNR_MASK_RATIOS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
#: ``source`` of a label that an annotator gave, as opposed to the name of the dataset whose head predicted it.
TRUTH = "truth"
#: ``module`` of a Gramian entry that covers all shared parameters because no finer split was recorded.
ALL_MODULES = "(all shared parameters)"

#: Column names of ``samples`` that an attribute may not take.
RESERVED_SAMPLE_COLUMNS = frozenset({*TABLES["samples"].columns, *TABLES["samples"].optional})

TaskKind = Literal["classification", "multilabel", "regression", "segmentation", "reconstruction"]
AttributeKind = Literal["categorical", "ordered", "continuous"]
Status = Literal["recording", "done", "failed"]


@dataclass(frozen=True)
class Task:
    """A task: what one loss trains. ``classes`` name the integer predictions of a classification task."""

    name: str
    kind: TaskKind = "classification"
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Domain:
    """A domain; ``held_out`` when it took no part in training."""

    name: str
    held_out: bool = False


@dataclass(frozen=True)
class Dataset:
    """A dataset with the names of its own label space, in the order of its label indices."""

    name: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Attribute:
    """A per-sample attribute (possible bias factor). ``levels`` in their natural order; empty for continuous ones."""

    name: str
    kind: AttributeKind = "categorical"
    levels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.name in RESERVED_SAMPLE_COLUMNS or self.name.startswith("target_"):
            raise ConfigError(
                f"An attribute cannot be called '{self.name}': the samples table uses that column. Rename it."
            )


@dataclass(frozen=True)
class Module:
    """A part of the shared network whose gradients were recorded, with its number of parameters."""

    name: str
    parameters: int = 0


@dataclass(frozen=True)
class RunInfo:
    """The contents of run.json: who and what.

    Attributes:
        created: ISO 8601 time with zone.
        status: ``recording`` until the recorder closes; ``failed`` when the training loop raised.
        question: One line that says what this run is about, shown in lists.
        recipe: Name of the demo recipe that produced the run, if one did.
        modules: In the order of the forward pass, the order of the layer ladder.
        layers: Names of the layers with recorded embeddings, in the order of the forward pass.
        summary: Last values worth showing in a list of runs, e.g. ``{"accuracy/left": 0.94}``.
        versions: Package versions that produced the run.
        code: Revision of the training code when it was in a git checkout: ``{"revision": …, "dirty": …}``.
        parent: Path or name of the run that this one continues or is compared with.
        notes: Sentences for the reader of the run, e.g. what could not be read from a foreign log.
    """

    name: str
    created: str = ""
    status: Status = "done"
    finished: str | None = None
    question: str = ""
    tasks: tuple[Task, ...] = ()
    domains: tuple[Domain, ...] = ()
    datasets: tuple[Dataset, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    modules: tuple[Module, ...] = ()
    layers: tuple[str, ...] = ()
    recipe: str | None = None
    method: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    summary: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    code: Mapping[str, Any] = field(default_factory=dict)
    parent: str | None = None
    notes: tuple[str, ...] = ()
    schema_version: int = SCHEMA_VERSION

    def task(self, name: str) -> Task:
        """The task of that name. Raises ConfigError with the known names otherwise."""
        for task in self.tasks:
            if task.name == name:
                return task
        raise ConfigError(
            f"Run '{self.name}' has no task '{name}'. It has: {', '.join(t.name for t in self.tasks) or 'none'}."
        )

    def to_json(self) -> str:
        data = {"schema_version": self.schema_version}
        data |= {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self) if f.name != "schema_version"}
        return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=True) + "\n"

    @staticmethod
    def from_json(text: str, where: str = "run.json") -> RunInfo:
        """Read run.json.

        Raises:
            RunFormatError: not JSON, not a run description, or written by a newer version of the format.
        """
        try:
            data = json.loads(text)
        except ValueError as error:
            raise RunFormatError(
                f"{where} is not valid JSON ({error}). Restore it from a copy, or record again."
            ) from None
        if not isinstance(data, dict) or "schema_version" not in data:
            raise RunFormatError(f"{where} does not describe a run: it has no 'schema_version'.")
        version = data["schema_version"]
        if not isinstance(version, int) or version > SCHEMA_VERSION:
            raise RunFormatError(
                f"{where} has schema_version {version!r}; this workbench reads up to {SCHEMA_VERSION}. "
                "Upgrade urlearn-workbench."
            )
        try:
            return _info_from_dict(data)
        except (TypeError, ValueError, AttributeError) as error:
            raise RunFormatError(f"{where} has a field of the wrong form: {error}.") from None


_ENTRIES: Mapping[str, type] = {
    "tasks": Task,
    "domains": Domain,
    "datasets": Dataset,
    "attributes": Attribute,
    "modules": Module,
}


_OPTIONAL_TEXT = (str, type(None))
_PLAIN_FIELDS: Mapping[str, type | tuple[type, ...]] = {
    "name": str,
    "created": str,
    "question": str,
    "finished": _OPTIONAL_TEXT,
    "recipe": _OPTIONAL_TEXT,
    "method": _OPTIONAL_TEXT,
    "parent": _OPTIONAL_TEXT,
    "seed": (int, type(None)),
}


def _info_from_dict(data: Mapping[str, Any]) -> RunInfo:
    known = {f.name for f in dataclasses.fields(RunInfo)}
    values: dict[str, Any] = {key: value for key, value in data.items() if key in known}
    values.setdefault("name", "unnamed")
    for key, kind in _ENTRIES.items():
        if key in values:
            values[key] = tuple(entry(kind, item) for item in values[key])
    for key in ("layers", "notes"):
        if key in values:
            values[key] = tuple(str(item) for item in values[key])
    for key in ("config", "summary", "versions", "code"):
        if not isinstance(values.get(key, {}), dict):
            raise TypeError(f"'{key}' must be an object")
    for key, kinds in _PLAIN_FIELDS.items():
        if key in values and not isinstance(values[key], kinds):
            raise TypeError(f"'{key}' is {values[key]!r}")
    if values.get("status", "done") not in get_args(Status):
        raise TypeError(f"'status' is {values['status']!r}; known: {', '.join(get_args(Status))}")
    values["summary"] = {tag: float(value) for tag, value in values.get("summary", {}).items()}
    return RunInfo(**values)


def entry(kind: type, item: Any) -> Any:
    """A Task, Domain, Dataset, Attribute or Module from its name, from a mapping of its fields, or itself."""
    if isinstance(item, kind):
        return item
    if isinstance(item, str):
        return kind(item)
    known = {f.name for f in dataclasses.fields(kind)}
    values = {
        key: tuple(value) if isinstance(value, list) else value for key, value in dict(item).items() if key in known
    }
    if not isinstance(values.get("name"), str):
        raise TypeError(f"an entry of '{kind.__name__.lower()}s' has no name: {item!r}")
    return kind(**values)


def entries(kind: type, items: Sequence[Any]) -> tuple[Any, ...]:
    """Each item through :func:`entry`. Raises ConfigError for a repeated name."""
    made = tuple(entry(kind, item) for item in items)
    names = [item.name for item in made]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ConfigError(f"{kind.__name__} names must differ; repeated: {', '.join(repeated)}.")
    return made


def _plain(value: Any) -> Any:
    """JSON-ready form of a field of RunInfo or of a value in ``config``."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    return str(value)


def environment() -> dict[str, str]:
    """Versions of Python and of the packages that shape a result, without importing any of them."""
    from importlib import metadata

    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for package in ("urlearn-workbench", "torch", "numpy", "pandas", "scikit-learn"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
