"""A table of labels (dataset, sample, label) as label counts of a run, written a chunk at a time.

Rows without a dataset or a label are skipped and counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench.core import Dataset, Problem, RunWriter
from workbench.core.schema import TRUTH
from workbench.runs.columns import Mapped
from workbench.runs.table_files import TableFile
from workbench.runs.table_predictions import PART
from workbench.runs.table_samples import SampleNumbers, integers, numbers_of, texts


def fill(path: Path, mapped: Mapped, writer: RunWriter) -> list[Problem]:
    """Write the label counts.

    Raises:
        RunFormatError: the file is no table.
    """
    column = mapped.columns
    table = TableFile.look_through(path, tuple(dict.fromkeys(column.values())))
    labels: dict[str, set[str]] = {}
    samples, whole_regions, rows = SampleNumbers(table.rows), "region" in column, 0
    for frame in _complete(table, mapped):
        rows += len(frame)
        samples.add(frame[column["sample"]])
        whole_regions = whole_regions and integers(frame[column["region"]]) is not None
        said = texts(frame[column["label"]], "")
        for dataset, at in frame.groupby(texts(frame[column["dataset"]], ""), sort=False).indices.items():
            labels.setdefault(str(dataset), set()).update(said[at])
    numbered, first = samples.numbered(), 0
    for frame in _complete(table, mapped):
        place = slice(first, first + len(frame))
        columns: dict[str, Any] = {
            "dataset": texts(frame[column["dataset"]], ""),
            "sample": numbered.of(place),
            "region": integers(frame[column["region"]]) if whole_regions else np.zeros(len(frame), np.int64),
            "label": texts(frame[column["label"]], ""),
            "weight": numbers_of(frame[column["weight"]]) if "weight" in column else 1.0,
            "source": texts(frame[column["source"]], TRUTH) if "source" in column else TRUTH,
        }
        writer.write("label_counts", columns)
        if place.stop // PART > place.start // PART:
            writer.flush()
        first = place.stop
    writer.update(datasets=[Dataset(name, tuple(sorted(found))) for name, found in labels.items()])
    n_skipped = table.rows - rows
    return [Problem(path, f"{n_skipped} row(s) without dataset or label were skipped")] if n_skipped else []


def _complete(table: TableFile, mapped: Mapped) -> Iterator[pd.DataFrame]:
    used = [mapped.columns["dataset"], mapped.columns["label"]]
    for frame in table.chunks():
        found = frame[frame[used].notna().all(axis=1)].reset_index(drop=True)
        if len(found):
            yield found
