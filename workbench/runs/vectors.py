"""Embeddings with a table about their rows, in one folder.

Either ``embeddings`` (.npy, .npz, .safetensors, .parquet) beside ``metadata`` (.csv, .tsv, .jsonl, .parquet), or the
TensorBoard projector's ``tensors.tsv`` beside ``metadata.tsv``. Every array of an .npz or .safetensors file is a layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench.core import Domain, Problem, RunFormatError, RunWriter, Task, WorkbenchError
from workbench.runs.format import Format
from workbench.runs.table_files import chunks, is_nameless, load_table
from workbench.runs.table_samples import AttributeColumns, texts

_ARRAYS = ("embeddings.npy", "embeddings.npz", "embeddings.safetensors", "embeddings.parquet", "tensors.tsv")
_METADATA = ("metadata.parquet", "metadata.csv", "metadata.tsv", "metadata.jsonl")
#: Rows that are read together.
_ROWS = 2**13
_DOMAIN = ("domain", "environment", "env", "dataset", "source")
_CLASS = ("label", "class", "target", "y")


def recognises(path: Path) -> bool:
    return path.is_dir() and _found(path, _ARRAYS) is not None and _found(path, _METADATA) is not None


def _found(path: Path, names: tuple[str, ...]) -> Path | None:
    return next((path / name for name in names if (path / name).is_file()), None)


def sources(path: Path) -> list[Path]:
    return [file for file in (_found(path, _ARRAYS), _found(path, _METADATA)) if file is not None]


def read(path: Path, writer: RunWriter) -> list[Problem]:
    """Fill samples and embeddings. The domain is the first column called domain, environment, dataset or source.

    Raises:
        RunFormatError: an array is not [N, D], or its rows do not match the metadata.
    """
    array_file, metadata_file = sources(path)
    frame = _metadata(metadata_file, array_file)
    for layer, values in _layers(array_file):
        if values.ndim != 2 or values.dtype.kind not in "fiu":
            raise RunFormatError(
                f"{array_file}: '{layer}' must be numbers of shape [N, D]; got {values.dtype} {values.shape}."
            )
        if len(values) != len(frame):
            raise RunFormatError(
                f"{array_file}: '{layer}' has {len(values)} rows, {metadata_file.name} has {len(frame)}; "
                "each row needs a line of metadata."
            )
        writer.embedding(0, layer, np.asarray(values, np.float32), np.arange(len(values)))
    _describe(frame, writer)
    return []


def _metadata(file: Path, array_file: Path) -> pd.DataFrame:
    """The table of the rows. A projector's metadata of one column has no header: its lines are the labels."""
    if array_file.name == "tensors.tsv":
        with file.open(encoding="utf-8", errors="replace") as stream, array_file.open("rb") as rows:
            if "\t" not in next(stream, ""):
                n_rows, n_lines = (sum(1 for line in lines if line.strip()) for lines in (rows, stream))
                if n_rows == n_lines + 1:
                    return pd.DataFrame({"label": file.read_text(encoding="utf-8", errors="replace").splitlines()})
    return load_table(file)


def _layers(file: Path) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of a file one after the other."""
    try:
        if file.suffix == ".npz":
            # np.load leaves the file open when the archive is damaged; a stream of ours is closed in any case.
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                yield from ((name, archive[name]) for name in archive.files)
        elif file.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(file, "numpy") as tensors:
                yield from ((name, tensors.get_tensor(name)) for name in tensors.keys())  # noqa: SIM118
        elif file.suffix == ".npy":
            yield "embeddings", np.load(file, allow_pickle=False)
        elif file.suffix == ".parquet":
            yield "embeddings", np.concatenate([_columns(frame) for frame in chunks(file, _ROWS)])
        else:
            yield "embeddings", _tensors(file)
    except WorkbenchError:
        raise
    except Exception as error:  # numpy, zipfile and safetensors raise many kinds on damaged bytes
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunFormatError(f"{file} is not a readable array file ({first_line}).") from None


def _tensors(file: Path) -> np.ndarray:
    """The projector's table of numbers [N, D]."""
    pieces = []
    with file.open(encoding="utf-8") as stream:
        while lines := list(islice(stream, _ROWS)):
            if any(line.strip() for line in lines):
                pieces.append(np.loadtxt(lines, delimiter="\t", ndmin=2).astype(np.float32))
    return np.concatenate(pieces)


def _columns(frame: pd.DataFrame) -> np.ndarray:
    if frame.shape[1] == 1 and not pd.api.types.is_numeric_dtype(frame.iloc[:, 0]):
        return np.array([np.asarray(row, np.float32) for row in frame.iloc[:, 0]])
    return frame[[name for name in frame.select_dtypes("number") if not is_nameless(str(name))]].to_numpy(np.float32)


def _describe(frame: pd.DataFrame, writer: RunWriter) -> None:
    by_lower = {name.lower(): name for name in frame.columns}
    domain = next((by_lower[name] for name in _DOMAIN if name in by_lower), None)
    label = next((by_lower[name] for name in _CLASS if name in by_lower), None)
    columns: dict[str, Any] = {"sample": np.arange(len(frame))}
    tasks: list[Task] = []
    if domain is not None:
        columns["domain"] = texts(frame[domain], "unknown")
        writer.update(domains=[Domain(name) for name in sorted(set(columns["domain"]))])
    if label is not None:
        classes = sorted(set(texts(frame[label], "unknown")))
        codes = pd.Index(classes, dtype=object).get_indexer(texts(frame[label], "unknown"))
        columns["target_label"] = codes.astype(np.int64)
        tasks = [Task("label", "classification", tuple(classes))]
    rest = [name for name in frame.columns if name not in (domain, label) and not is_nameless(name)]
    attributes = AttributeColumns({name: frame[name].dtype.kind in "iuf" for name in rest}, len(frame))
    attributes.add(frame)
    declared = attributes.declared(len(frame))
    writer.samples(columns | attributes.values(frame))
    writer.update(tasks=tasks, attributes=declared)


FORMAT = Format("vectors", "embeddings with metadata", recognises, sources, read)
