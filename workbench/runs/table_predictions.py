"""A table of predictions as tables of a run: looked through for types and facts, then written a chunk at a time.

Rows without a target or a prediction are skipped and counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench.core import Problem, RunWriter, Task
from workbench.runs.columns import Mapped
from workbench.runs.table_files import TableFile
from workbench.runs.table_samples import AttributeColumns, Numbered, SampleNumbers, integers, numbers_of, texts

#: More classes than this are not named, and so many different numbers are no names of classes.
MOST_CLASSES = 10_000
#: Rows of one part of a table.
PART = 2**16
_NAMES = ("dataset", "domain", "split")


@dataclass
class _Outcome:
    """What the targets and predictions of one task are: numbers of classes, names of classes, or measured values."""

    numeric: bool = True
    whole: bool = True
    whole_predictions: bool = True
    low: float = np.inf
    high: float = -np.inf
    shares: bool = True  # targets are 0 or 1, predictions between
    levels: set[str] | None = field(default_factory=set)
    _index: pd.Index | None = None

    def add(self, target: pd.Series, prediction: pd.Series) -> None:
        if self.levels is not None:
            self.levels.update(*(texts(column.drop_duplicates(), "") for column in (target, prediction)))
        if not self.numeric:  # then nothing but the names matters
            return
        numbers = [numbers_of(target), numbers_of(prediction)]
        both = np.concatenate(numbers)
        self.numeric = bool(np.isfinite(both).all())
        self.whole &= integers(target) is not None
        self.whole_predictions &= integers(prediction) is not None
        if np.isfinite(both).any():
            self.low, self.high = min(self.low, np.nanmin(both)), max(self.high, np.nanmax(both))
        self.shares &= bool(np.isin(numbers[0], (0, 1)).all() and ((both >= 0) & (both <= 1)).all())
        if self.levels is not None and self.numeric and len(self.levels) > MOST_CLASSES:
            self.levels = None

    @property
    def kind(self) -> str:
        """``numbered`` or ``named`` classes, ``probabilities`` of class 1, or ``measured`` values."""
        if self.whole and self.whole_predictions and self.low >= 0:
            return "numbered"
        if self.whole and self.shares:
            return "probabilities"
        if self.levels is None or (self.numeric and not (self.whole and self.whole_predictions)):
            return "measured"
        return "named"

    @property
    def top(self) -> int | None:
        """The largest code of a class; None where values are measured."""
        sizes = {"measured": None, "named": len(self.levels or ()), "probabilities": 1}
        return sizes[self.kind] if self.kind in sizes else int(self.high)

    def task(self, name: str) -> Task:
        top = self.top
        if top is None:
            return Task(name, "regression")
        if self.kind == "named":
            return Task(name, "classification", tuple(sorted(self.levels or ())))
        return Task(name, "classification", tuple(map(str, range(top + 1))) if top < MOST_CLASSES else ())

    def values(self, column: pd.Series, is_prediction: bool = False) -> np.ndarray:
        """The column as numbers: codes of classes, or values."""
        if self.kind == "named":
            if self._index is None:
                self._index = pd.Index(sorted(self.levels or ()), dtype=object)
            return self._index.get_indexer(pd.Index(texts(column, ""), dtype=object)).astype(float)
        if self.kind == "probabilities" and is_prediction:
            return (numbers_of(column) >= 0.5).astype(float)
        return numbers_of(column)


@dataclass
class _Facts:
    """What must be known of all rows before the first is written."""

    attributes: AttributeColumns
    rows: int = 0
    whole_steps: bool = True
    outcomes: dict[str, _Outcome] = field(default_factory=dict)
    names: dict[str, dict[str, int]] = field(default_factory=lambda: {role: {} for role in _NAMES})
    samples: Numbered | None = None


def fill(path: Path, mapped: Mapped, writer: RunWriter) -> list[Problem]:
    """Write predictions and samples.

    Raises:
        RunFormatError: the file is no table.
    """
    table = TableFile.look_through(path, tuple(dict.fromkeys((*mapped.columns.values(), *mapped.rest))))
    facts = _facts(table, mapped)
    attributes = facts.attributes.declared(facts.rows)
    described = None if facts.samples is None or facts.samples.place is None else _Described(facts)
    first = 0
    for frame in _complete(table, mapped, len(facts.outcomes)):
        rows = slice(first, first + len(frame))
        sample = np.arange(rows.start, rows.stop) if facts.samples is None else facts.samples.of(rows)
        targets = _write(frame, rows, sample, facts, mapped, writer)
        columns: dict[str, Any] = targets | facts.attributes.values(frame) | _named(frame, mapped)
        if described is None:
            writer.samples({"sample": sample} | columns)
        else:
            described.add(rows, columns)
        if rows.stop // PART > rows.start // PART:
            writer.flush()
        first = rows.stop
    if described is not None:
        described.write(writer)
    tasks = [outcome.task(name) for name, outcome in facts.outcomes.items()]
    domains, datasets = (sorted(set(facts.names[role]) - {""}) for role in ("domain", "dataset"))
    writer.update(tasks=tasks, attributes=attributes, domains=domains, datasets=datasets)
    return _problems(path, table.rows - facts.rows, facts, mapped)


def _problems(path: Path, n_skipped: int, facts: _Facts, mapped: Mapped) -> list[Problem]:
    problems = []
    if n_skipped:
        problems.append(Problem(path, f"{n_skipped} row(s) without target or prediction were skipped"))
    if not facts.whole_steps:
        step = mapped.columns["step"]
        problems.append(Problem(path, f"column '{step}' holds other things than whole numbers; rows are numbered"))
    for name, outcome in facts.outcomes.items():
        if outcome.kind == "probabilities":
            reason = f"predictions of '{name}' are probabilities: from 0.5 on they are read as class 1"
            problems.append(Problem(path, reason))
        elif outcome.kind == "measured" and not outcome.numeric:
            problems.append(Problem(path, f"'{name}' is a regression, and some of its cells are no numbers"))
    return problems


def _complete(table: TableFile, mapped: Mapped, width: int = 0) -> Iterator[pd.DataFrame]:
    """The rows with a target and a prediction."""
    used = [mapped.columns["target"], mapped.columns["prediction"]]
    for frame in table.chunks(width):
        yield frame[frame[used].notna().all(axis=1)].reset_index(drop=True)


def _facts(table: TableFile, mapped: Mapped) -> _Facts:
    column = mapped.columns
    numeric = {name: table.kinds[name] in ("int", "float") for name in mapped.rest}
    facts = _Facts(AttributeColumns(numeric, table.rows))
    numbers = SampleNumbers(table.rows) if "sample" in column else None
    for frame in _complete(table, mapped):
        facts.rows += len(frame)
        facts.attributes.add(frame)
        if "step" in column and facts.whole_steps:
            facts.whole_steps = integers(frame[column["step"]]) is not None
        if numbers is not None:
            numbers.add(frame[column["sample"]])
        for task, rows in _tasks(frame, mapped).items():
            outcome = facts.outcomes.setdefault(task, _Outcome())
            outcome.add(frame[column["target"]].iloc[rows], frame[column["prediction"]].iloc[rows])
        for role, names in _named(frame, mapped).items():
            for name in pd.unique(names):
                facts.names[role].setdefault(name, len(facts.names[role]))
    if numbers is not None:
        facts.samples = numbers.numbered()
    return facts


def _tasks(frame: pd.DataFrame, mapped: Mapped) -> dict[str, np.ndarray]:
    """Task -> its rows, in the order of their appearance."""
    if "task" not in mapped.columns:
        return {"label": np.arange(len(frame))} if len(frame) else {}
    codes, names = pd.factorize(texts(frame[mapped.columns["task"]], "label"))
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(names)))
    return dict(zip(names, np.split(order, ends[:-1]), strict=True)) if len(names) else {}


def _named(frame: pd.DataFrame, mapped: Mapped) -> dict[str, np.ndarray]:
    """Dataset, domain and split of every row; empty where there is none."""
    nothing = np.full(len(frame), "", dtype=object)
    return {role: texts(frame[mapped.columns[role]], "") if role in mapped.columns else nothing for role in _NAMES}


def _write(
    frame: pd.DataFrame, rows: slice, sample: np.ndarray, facts: _Facts, mapped: Mapped, writer: RunWriter
) -> dict[str, np.ndarray]:
    """Write the predictions; the targets by task, NaN where a row is of another task."""
    column = mapped.columns
    steps: Any = np.arange(rows.start, rows.stop) if not facts.whole_steps else 0
    if facts.whole_steps and "step" in column:
        steps = integers(frame[column["step"]])
    targets = {f"target_{task}": np.full(len(frame), np.nan) for task in facts.outcomes}
    predicted, tasks = np.full(len(frame), np.nan), np.empty(len(frame), object)
    for task, at in _tasks(frame, mapped).items():
        outcome, tasks[at] = facts.outcomes[task], task
        targets[f"target_{task}"][at] = outcome.values(frame[column["target"]].iloc[at])
        predicted[at] = outcome.values(frame[column["prediction"]].iloc[at], is_prediction=True)
    measured = {role: numbers_of(frame[column[role]]) if role in column else np.nan for role in ("confidence", "loss")}
    if len(frame):
        columns = {"step": steps, "sample": sample, "task": tasks, "prediction": predicted}
        writer.write("predictions", columns | measured)
    return targets


class _Described:
    """What is said of samples that have several rows: the first word, and the first number that is not missing.

    Words and classes are kept as codes in as few bytes as they need.
    """

    def __init__(self, facts: _Facts) -> None:
        assert facts.samples is not None
        self._samples = facts.samples
        self._levels: dict[str, Any] = {role: list(names) for role, names in facts.names.items()}
        self._levels |= facts.attributes.levels()
        self._indexes = {name: pd.Index(levels, dtype=object) for name, levels in self._levels.items()}
        self._tops = {f"target_{task}": outcome.top for task, outcome in facts.outcomes.items()}
        self._columns: dict[str, np.ndarray] = {}
        self._seen = np.zeros(len(facts.samples.values), bool)

    def add(self, rows: slice, columns: dict[str, np.ndarray]) -> None:
        assert self._samples.place is not None
        place = self._samples.place[rows]
        # Backwards, for the last of equal places stays: that of the first row.
        new = np.flatnonzero(~self._seen[place])[::-1]
        self._seen[place] = True
        for name, values in columns.items():
            if name not in self._columns:
                self._columns[name] = self._empty(name)
            known = self._columns[name]
            if name in self._indexes:
                known[place[new]] = self._indexes[name].get_indexer(values[new])
            else:
                missing = np.isnan(known[place]) if known.dtype.kind == "f" else known[place] < 0
                open_rows = np.flatnonzero(~np.isnan(values) & missing)[::-1]
                known[place[open_rows]] = values[open_rows]

    def _empty(self, name: str) -> np.ndarray:
        top = len(self._levels[name]) if name in self._levels else self._tops.get(name)
        if top is None:
            return np.full(len(self._samples.values), np.nan)
        return np.full(len(self._samples.values), -1, np.min_scalar_type(-1 - top))

    def write(self, writer: RunWriter) -> None:
        names = {name: np.array(levels, dtype=object) for name, levels in self._levels.items()}
        for begin in range(0, len(self._samples.values), PART):
            part = slice(begin, begin + PART)
            described: dict[str, Any] = {"sample": self._samples.values[part].astype(np.int64)}
            for name, column in self._columns.items():
                values = column[part]
                if name in names:
                    described[name] = names[name][values]
                else:
                    described[name] = values if values.dtype.kind == "f" else np.where(values < 0, np.nan, values)
            writer.samples(described)
            writer.flush()
