"""A CSV, JSONL or Parquet table of scalars, predictions or labels, from anywhere.

Roles of the columns come from a file ``<table>.columns.toml`` beside the table where there is one, else from a mapping
that was confirmed earlier and is kept in the user's cache, else they are guessed from the names. How the table was read
is written into the run's notes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from workbench.core import Attribute, Dataset, Problem, RunFormatError, RunWriter, Task
from workbench.core.files import cache_folder, write_content_atomically
from workbench.core.schema import RESERVED_SAMPLE_COLUMNS
from workbench.runs.columns import Mapped, guess, read_mapping
from workbench.runs.format import Format

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
#: Numeric attributes with more distinct values than this are continuous.
MOST_LEVELS = 20
#: Cells that are read at a time.
_CELLS = 2**16


def recognises(path: Path) -> bool:
    if not path.is_file() or path.suffix.lower() not in SUFFIXES or path.match("tables/*/part-*.parquet"):
        return False
    try:
        return mapping_of(path) is not None
    except RunFormatError:
        return origin_of(path) != "guessed"


def mapping_file(path: Path) -> Path:
    return path.with_name(path.name + ".columns.toml")


def kept_file(path: Path) -> Path:
    """Where a confirmed mapping of a table is kept: in the cache, never beside the user's data."""
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:24]
    return cache_folder() / "mappings" / f"{digest}.columns.toml"


def keep_mapping(path: Path, mapped: Mapped) -> None:
    """Read the table in this way from now on."""
    file = kept_file(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_content_atomically(file, mapped.toml())


def forget_mapping(path: Path) -> None:
    """Guess again."""
    kept_file(path).unlink(missing_ok=True)


def origin_of(path: Path) -> Literal["file", "confirmed", "guessed"]:
    """Where the mapping of a table comes from: the file beside it, an earlier confirmation, or a guess."""
    if mapping_file(path).is_file():
        return "file"
    return "confirmed" if kept_file(path).is_file() else "guessed"


def sources(path: Path) -> list[Path]:
    return [file for file in (path, mapping_file(path), kept_file(path)) if file.is_file()]


def mapping_of(path: Path, mapping: Path | None = None) -> Mapped | None:
    """How a table would be read: a given mapping, the one beside it, the confirmed one, or a guess from the first rows.

    None when the columns do not tell what the table holds. Raises RunFormatError for a mapping that does not fit.
    """
    frame = head(path)
    beside = next((file for file in (mapping, mapping_file(path), kept_file(path)) if file and file.is_file()), None)
    if beside is not None:
        return read_mapping(beside, list(frame.columns))
    return guess(list(frame.columns), list(frame.select_dtypes("number").columns))


def read(path: Path, writer: RunWriter, mapping: Path | None = None) -> list[Problem]:
    """Fill the table that the mapping names.

    Args:
        mapping: A mapping file to use instead of the one beside the table or a guess.

    Raises:
        RunFormatError: the file is no table, or its columns do not tell what it holds.
    """
    mapped = mapping_of(path, mapping)
    if mapped is None:
        names = ", ".join(head(path).columns)
        raise RunFormatError(
            f"{path}: the columns ({names}) do not tell what the table holds. "
            f'Say it in {mapping_file(path).name}: table = "predictions" and a section [columns].'
        )
    if mapped.kind == "scalars":
        problems = _scalars(path, mapped, writer)
    else:
        fill = _predictions if mapped.kind == "predictions" else _label_counts
        problems = fill(load_table(path), mapped, writer, path)
    writer.update(notes=(*writer.info.notes, str(mapped)))
    return problems


def head(path: Path) -> pd.DataFrame:
    """The first rows of a table, by which it is recognised. Raises RunFormatError when it is none."""
    return _load(path, rows=200)


def load_table(path: Path) -> pd.DataFrame:
    """A whole CSV, TSV, JSONL or Parquet table. Raises RunFormatError when it is none."""
    return _load(path, rows=None)


def _load(path: Path, rows: int | None) -> pd.DataFrame:
    frame = next(_chunks(path, rows), pd.DataFrame()) if rows else _whole(path)
    return frame.set_axis([str(name) for name in frame.columns], axis=1)


def _whole(path: Path) -> pd.DataFrame:
    with _readable(path):
        if path.suffix.lower() == ".parquet":
            return pd.read_parquet(path)
        if path.suffix.lower() == ".jsonl":
            return next(_json_lines(path, None), pd.DataFrame())
        return pd.read_csv(path, low_memory=False, **_csv(path))


def _chunks(path: Path, rows: int) -> Iterator[pd.DataFrame]:
    """The table so many rows at a time. Raises RunFormatError when it is none."""
    with _readable(path):
        if path.suffix.lower() == ".parquet":
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=rows):
                    yield batch.to_pandas()
        elif path.suffix.lower() == ".jsonl":
            yield from _json_lines(path, rows)
        else:
            with pd.read_csv(path, chunksize=rows, low_memory=False, **_csv(path)) as chunks:
                yield from chunks


def _csv(path: Path) -> dict[str, Any]:
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    return {"sep": separator, "encoding_errors": "replace", "on_bad_lines": "skip"}


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, pa.ArrowInvalid, pd.errors.ParserError, OSError, OverflowError, RecursionError) as error:
        kind, reason = path.suffix.lower()[1:], str(error).splitlines()[0]
        raise RunFormatError(f"{path} is not a readable {kind} table ({reason}).") from None


def _json_lines(path: Path, rows: int | None) -> Iterator[pd.DataFrame]:
    """The objects of a JSONL file, one a line. A last line that is still being written is left out."""
    with path.open(encoding="utf-8", errors="replace") as stream:
        found = _json_objects(stream)
        while records := list(islice(found, rows)):
            yield pd.DataFrame.from_records(records)


def _json_objects(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            if line.endswith("\n"):
                raise
            return
        if not isinstance(record, dict):
            raise ValueError("a line holds no names with values")
        yield record


def _integers(column: pd.Series) -> np.ndarray | None:
    """The column as int64, or None when it holds anything but whole numbers."""
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(float)
    whole = np.isfinite(numbers).all() and (numbers == np.round(numbers)).all() and (np.abs(numbers) < 2**53).all()
    return numbers.astype(np.int64) if whole else None


def _steps(frame: pd.DataFrame, mapped: Mapped, path: Path) -> tuple[np.ndarray, list[Problem]]:
    if "step" not in mapped.columns:
        return np.zeros(len(frame), np.int64), []
    steps = _integers(frame[mapped.columns["step"]])
    if steps is not None:
        return steps, []
    problem = Problem(
        path, f"column '{mapped.columns['step']}' holds other things than whole numbers; rows are numbered"
    )
    return np.arange(len(frame)), [problem]


def _numbers(frame: pd.DataFrame, mapped: Mapped, role: str) -> Any:
    if role not in mapped.columns:
        return np.nan
    return pd.to_numeric(frame[mapped.columns[role]], errors="coerce").to_numpy(float)


def _scalars(path: Path, mapped: Mapped, writer: RunWriter) -> list[Problem]:
    """Write the points a chunk at a time. Columns that begin behind the first rows of a JSONL file are tags, too."""
    known = list(head(path).columns)
    rows = max(1, _CELLS // max(1, len(known)))
    numbered = "step" not in mapped.columns or not all(
        _integers(frame[mapped.columns["step"]]) is not None for frame in _complete(path, rows, known)
    )
    first = 0
    for frame in _complete(path, rows, known):
        count = np.arange(first, first + len(frame)) if "step" in mapped.columns else np.zeros(len(frame), np.int64)
        steps = count if numbered else _integers(frame[mapped.columns["step"]])
        wall_time = _numbers(frame, mapped, "wall_time") if "wall_time" in mapped.columns else path.stat().st_mtime
        assert steps is not None
        if "tag" in mapped.columns:
            tags = frame[mapped.columns["tag"]].astype(str).to_numpy(object)
            points = {"step": steps, "tag": tags, "value": _numbers(frame, mapped, "value"), "wall_time": wall_time}
        else:
            late = frame[frame.columns[len(known) :]].select_dtypes("number").columns
            points = _points(frame[[*mapped.rest, *late]], steps, wall_time)
        writer.write("scalars", points)
        writer.flush()
        first += len(frame)
    if not numbered or "step" not in mapped.columns:
        return []
    step = mapped.columns["step"]
    return [Problem(path, f"column '{step}' holds other things than whole numbers; rows are numbered")]


def _complete(path: Path, rows: int, known: Sequence[str]) -> Iterator[pd.DataFrame]:
    """The chunks of a table with the known columns first, also where a chunk lacks one."""
    for frame in _chunks(path, rows):
        named = frame.set_axis([str(name) for name in frame.columns], axis=1)
        if list(named.columns) != list(known):
            named = named.reindex(columns=[*known, *(name for name in named.columns if name not in set(known))])
        yield named


def _points(frame: pd.DataFrame, steps: np.ndarray, wall_time: np.ndarray | float) -> dict[str, Any]:
    """The filled cells of columns of numbers, column by column; what is no number is NaN."""
    texts = {str(name): pd.to_numeric(frame[name], errors="coerce") for name in frame.select_dtypes(exclude="number")}
    values = frame.assign(**texts).to_numpy(float, na_value=np.nan).T
    column, row = np.nonzero(frame.notna().to_numpy().T)
    times = wall_time[row] if isinstance(wall_time, np.ndarray) else wall_time
    names = frame.columns.to_numpy(object)
    return {"step": steps[row], "tag": names[column], "value": values[column, row], "wall_time": times}


def codes(column: pd.Series, levels: list[str]) -> np.ndarray:
    """The position of every entry, as text, in ``levels``."""
    return pd.Categorical(column.astype(str), categories=levels).codes.astype(np.int64)


def _predictions(frame: pd.DataFrame, mapped: Mapped, writer: RunWriter, path: Path) -> list[Problem]:
    column = mapped.columns
    used = frame[[column["target"], column["prediction"]]]
    complete = used.notna().all(axis=1).to_numpy()
    problems = []
    if not complete.all():
        problems.append(Problem(path, f"{int((~complete).sum())} row(s) without target or prediction were skipped"))
        frame = frame[complete].reset_index(drop=True)
    steps, more = _steps(frame, mapped, path)
    problems += more
    samples = _sample_ids(frame, mapped)
    tasks = frame[column["task"]].astype(str) if "task" in column else pd.Series("label", index=frame.index)
    declared, targets, predicted = [], {}, np.full(len(frame), np.nan)
    for task in pd.unique(tasks):
        rows = (tasks == task).to_numpy()
        kind, classes, target, prediction = _outcomes(frame[column["target"]][rows], frame[column["prediction"]][rows])
        declared.append(Task(str(task), kind, classes))
        full = np.full(len(frame), np.nan)
        full[rows] = target
        targets[f"target_{task}"] = full
        predicted[rows] = prediction
    columns: dict[str, Any] = {
        "step": steps,
        "sample": samples,
        "task": tasks.to_numpy(object),
        "prediction": predicted,
    }
    columns |= {role: _numbers(frame, mapped, role) for role in ("confidence", "loss")}
    writer.write("predictions", columns)
    attributes, values = described_attributes(frame, mapped.rest)
    described = pd.DataFrame({"sample": samples} | targets | values)
    for role in ("dataset", "domain", "split"):
        described[role] = frame[column[role]].astype(str).to_numpy() if role in column else ""
    writer.samples(described.groupby("sample", sort=False).first().reset_index())
    domains = sorted(set(described["domain"]) - {""})
    datasets = sorted(set(described["dataset"]) - {""})
    writer.update(tasks=declared, attributes=attributes, domains=domains, datasets=datasets)
    return problems


def _sample_ids(frame: pd.DataFrame, mapped: Mapped) -> np.ndarray:
    if "sample" not in mapped.columns:
        return np.arange(len(frame))
    column = frame[mapped.columns["sample"]]
    numbers = _integers(column)
    return pd.factorize(column)[0].astype(np.int64) if numbers is None else numbers


def _outcomes(target: pd.Series, prediction: pd.Series) -> tuple[Any, tuple[str, ...], np.ndarray, np.ndarray]:
    """Kind of the task, its classes, and both columns as numbers: class codes, or the values of a regression."""
    numeric = pd.api.types.is_float_dtype(target) and _integers(target) is None
    if numeric:
        return "regression", (), target.to_numpy(float), pd.to_numeric(prediction, errors="coerce").to_numpy(float)
    whole_target, whole_prediction = _integers(target), _integers(prediction)
    if (
        whole_target is not None
        and whole_prediction is not None
        and min(whole_target.min(), whole_prediction.min()) >= 0
    ):
        top = int(max(whole_target.max(), whole_prediction.max()))
        classes = tuple(str(number) for number in range(top + 1)) if top < 10_000 else ()
        return "classification", classes, whole_target.astype(float), whole_prediction.astype(float)
    levels = sorted({*target.astype(str), *prediction.astype(str)})
    return (
        "classification",
        tuple(levels),
        codes(target, levels).astype(float),
        codes(prediction, levels).astype(float),
    )


def described_attributes(frame: pd.DataFrame, names: Sequence[str]) -> tuple[list[Attribute], dict[str, np.ndarray]]:
    """Columns as attributes: continuous numbers, or text with few levels. Free text and identifiers are left out."""
    declared, values = [], {}
    for name in names:
        column = frame[name]
        safe = f"{name}_" if name in RESERVED_SAMPLE_COLUMNS or name.startswith("target_") else str(name)
        distinct = column.nunique(dropna=True)
        if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column) and distinct > MOST_LEVELS:
            declared.append(Attribute(safe, "continuous"))
            values[safe] = column.to_numpy(float)
        elif distinct <= max(MOST_LEVELS, len(frame) // 20):
            text = column.astype("string").fillna("unknown").astype(str)
            declared.append(Attribute(safe, "categorical", tuple(sorted(text.unique()))))
            values[safe] = text.to_numpy(object)
    return declared, values


def _label_counts(frame: pd.DataFrame, mapped: Mapped, writer: RunWriter, path: Path) -> list[Problem]:
    column = mapped.columns
    datasets = frame[column["dataset"]].astype(str)
    labels = frame[column["label"]].astype(str)
    regions = _integers(frame[column["region"]]) if "region" in column else None
    writer.write(
        "label_counts",
        {
            "dataset": datasets.to_numpy(object),
            "sample": _sample_ids(frame, mapped),
            "region": np.zeros(len(frame), np.int64) if regions is None else regions,
            "label": labels.to_numpy(object),
            "weight": _numbers(frame, mapped, "weight") if "weight" in column else 1.0,
            "source": frame[column["source"]].astype(str).to_numpy(object) if "source" in column else "truth",
        },
    )
    known = [Dataset(name, tuple(sorted(labels[datasets == name].unique()))) for name in pd.unique(datasets)]
    writer.update(datasets=known)
    return []


def table_format(mapping: Path) -> Format:
    """The format of a table whose columns a mapping file explains."""
    return replace(FORMAT, recognises=lambda path: path.is_file(), read=partial(read, mapping=mapping))


FORMAT = Format("table", "table of scalars, predictions or labels", recognises, sources, read)
