"""How much a model moved from each checkpoint of a training to the next."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from workbench.core import WorkbenchError
from workbench.runs.checkpoint_files import Entry
from workbench.runs.checkpoints import Checkpoint, changes, open_checkpoint


def series(entries: Sequence[Entry]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """How much the model moved from each checkpoint to the next.

    Two checkpoints are open at a time, and one tensor of each is in memory (PyTorch files are loaded whole).

    Returns:
        One row a checkpoint: checkpoint, step, megabytes, tensors, parameters, relative_change (of all tensors that
        both have: |after - before| / |before|), most_changed (the tensor with the largest relative change), and why
        it could not be opened (empty when it could). And one row a tensor and pair: step, tensor, relative_change,
        cosine. NaN for the first checkpoint and beside one that could not be opened.
    """
    rows, tensors = [], []
    opened = [_opened(entry) for entry in entries]
    moved: dict[int, tuple[float, str]] = {}
    for (i, (before, _)), (j, (after, _)) in pairwise(enumerate(opened)):
        if before is not None and after is not None:
            frame = changes(before, after)
            known = frame[frame["relative_change"].notna()]
            moved[j] = _total(known)
            tensors.append(known.assign(step=entries[j].step if entries[j].step is not None else i + 1))
    for i, (entry, (checkpoint, reason)) in enumerate(zip(entries, opened, strict=True)):
        shapes = checkpoint.shapes.values() if checkpoint is not None else ()
        parameters = sum(int(np.prod(shape)) for shape in shapes)
        change, most = moved.get(i, (np.nan, ""))
        rows.append((entry.name, entry.step, entry.size / 1e6, len(shapes), parameters, change, most, reason))
    columns = ["checkpoint", "step", "megabytes", "tensors", "parameters", "relative_change", "most_changed", "problem"]
    each = ["step", "tensor", "relative_change", "cosine"]
    overall = pd.DataFrame(rows, columns=columns).astype({"step": "Int64"})
    return overall, pd.concat(tensors)[each].reset_index(drop=True) if tensors else pd.DataFrame(columns=each)


def _total(known: pd.DataFrame) -> tuple[float, str]:
    if known.empty:
        return np.nan, ""
    squares = float((known["norm"] ** 2).sum())
    moved = float(((known["relative_change"] * known["norm"]) ** 2).sum())
    return float(np.sqrt(moved / squares)), str(known["tensor"].iloc[int(known["relative_change"].argmax())])


def _opened(entry: Entry) -> tuple[Checkpoint | None, str]:
    try:
        return open_checkpoint(entry.path), ""
    except WorkbenchError as error:
        return None, str(error)
