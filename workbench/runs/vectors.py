"""Embeddings with a table about their rows, in one folder.

Either ``embeddings`` (.npy, .npz, .safetensors, .parquet) beside ``metadata`` (.csv, .tsv, .jsonl, .parquet), or the
TensorBoard projector's ``tensors.tsv`` beside ``metadata.tsv``. Every array of an .npz or .safetensors file is a layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench.core import Attribute, Domain, Problem, RunFormatError, RunWriter, Task
from workbench.runs.format import Format
from workbench.runs.tables import codes, described_attributes, load_table

_ARRAYS = ("embeddings.npy", "embeddings.npz", "embeddings.safetensors", "embeddings.parquet", "tensors.tsv")
_METADATA = ("metadata.parquet", "metadata.csv", "metadata.tsv", "metadata.jsonl")
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
    frame = load_table(metadata_file)
    layers = _layers(array_file)
    for layer, values in layers.items():
        if values.ndim != 2 or values.dtype.kind not in "fiu":
            raise RunFormatError(
                f"{array_file}: '{layer}' must be numbers of shape [N, D]; got {values.dtype} {values.shape}."
            )
        if len(values) != len(frame):
            rows = f"'{layer}' has {len(values)} rows, {metadata_file.name} has {len(frame)}"
            raise RunFormatError(f"{array_file}: {rows}; the projector's files of one column have no header.")
        writer.embedding(0, layer, values.astype(np.float32), np.arange(len(values)))
    _describe(frame, writer)
    return []


def _layers(file: Path) -> Mapping[str, np.ndarray]:
    try:
        if file.suffix == ".npz":
            # np.load leaves the file open when the archive is damaged; a stream of ours is closed in any case.
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        if file.suffix == ".safetensors":
            from safetensors.numpy import load_file

            return load_file(file)
        if file.suffix == ".npy":
            return {"embeddings": np.load(file, allow_pickle=False)}
        if file.suffix == ".parquet":
            return {"embeddings": _columns(load_table(file))}
        return {"embeddings": np.loadtxt(file, delimiter="\t", ndmin=2)}
    except RunFormatError:
        raise
    except Exception as error:  # numpy, zipfile and safetensors raise many kinds on damaged bytes
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunFormatError(f"{file} is not a readable array file ({first_line}).") from None


def _columns(frame: pd.DataFrame) -> np.ndarray:
    if frame.shape[1] == 1 and not pd.api.types.is_numeric_dtype(frame.iloc[:, 0]):
        return np.array([np.asarray(row, float) for row in frame.iloc[:, 0]])
    return frame.select_dtypes("number").to_numpy(float)


def _describe(frame: pd.DataFrame, writer: RunWriter) -> None:
    by_lower = {name.lower(): name for name in frame.columns}
    domain = next((by_lower[name] for name in _DOMAIN if name in by_lower), None)
    label = next((by_lower[name] for name in _CLASS if name in by_lower), None)
    columns: dict[str, Any] = {"sample": np.arange(len(frame))}
    tasks: list[Task] = []
    if domain is not None:
        columns["domain"] = frame[domain].astype(str).to_numpy(object)
        writer.update(domains=[Domain(name) for name in sorted(set(columns["domain"]))])
    if label is not None:
        classes = sorted(frame[label].astype(str).unique())
        columns["target_label"] = codes(frame[label], classes)
        tasks = [Task("label", "classification", tuple(classes))]
    rest = tuple(name for name in frame.columns if name not in (domain, label))
    attributes: list[Attribute]
    attributes, values = described_attributes(frame, rest)
    writer.samples(columns | values)
    writer.update(tasks=tasks, attributes=attributes)


FORMAT = Format("vectors", "embeddings with metadata", recognises, sources, read)
