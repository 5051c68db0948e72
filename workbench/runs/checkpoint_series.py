"""The checkpoints of one training in the order of their steps, and how much the model moved from each to the next.

Model weights only: the states of optimizers, schedulers and random number generators that lie beside them are left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from workbench.core import Run, WorkbenchError
from workbench.runs.checkpoints import Checkpoint, changes, find_checkpoints, open_checkpoint

#: Folders below a log in which checkpoints are looked for, and how many are listed at most.
MOST_DEPTH, MOST_FILES = 3, 200
_STATES = re.compile(
    r"^(optimizer|optim|scheduler|lr_scheduler|sampler|scaler|rng_state|random_states|training_args|dl_state|"
    r"custom_checkpoint|tokenizer|zero_pp_rank)", re.IGNORECASE,
)  # fmt: skip
#: How a name tells its step, most telling first; then how it tells its epoch.
_STEP = (r"step[=_-]?(\d+)", r"(?:checkpoint|ckpt)[=_-](\d+)", r"iter(?:ation)?[=_-]?(\d+)", r"epoch[=_-]?(\d+)")
_ONE = re.compile(r"(checkpoint|ckpt|step|epoch|iter)[=_-]?\d+", re.IGNORECASE)
_WEIGHTS_BIN = re.compile(r"^(pytorch_model|adapter_model|diffusion_pytorch_model|model|consolidated)", re.IGNORECASE)


@dataclass(frozen=True)
class Entry:
    """One checkpoint; ``step`` as its name or its folder's tells it (None where neither does), ``size`` in bytes."""

    name: str
    step: int | None
    path: Path
    size: int


def of_run(run: Run) -> list[Entry]:
    """The checkpoints of a run in order: its own, or those that lie below the log it was read from."""
    if run.source is None:
        return [Entry(path.name, step, path, path.stat().st_size) for step, path in sorted(run.checkpoints().items())]
    return below(run.source) if run.source.is_dir() or is_weights(run.source) else []


def below(place: Path) -> list[Entry]:
    """The model checkpoints below a folder by step, then those whose name tells none by their time; or the file."""
    if place.is_file():
        return [Entry(place.name, step_of(Path(place.name)), place, place.stat().st_size)]
    found = []
    for path in find_checkpoints(place):
        inner = path.relative_to(place)
        if len(inner.parts) <= MOST_DEPTH and is_weights(path):
            # A folder of one checkpoint carries the step itself.
            named = Path(place.name) / inner if _ONE.fullmatch(place.name) else inner
            found.append((Entry(inner.as_posix(), step_of(named), path, _size(path)), path.stat().st_mtime))
    found.sort(key=lambda item: (item[0].step is None, item[0].step or 0, item[1], item[0].name))
    return [entry for entry, _ in found[:MOST_FILES]]


def is_weights(path: Path) -> bool:
    """Whether a file, by its name and first bytes, holds the weights of a model."""
    if _STATES.match(path.name):
        return False
    if path.name.endswith(".index.json"):
        return path.name.endswith((".safetensors.index.json", ".bin.index.json"))
    if path.suffix == ".bin" and not _WEIGHTS_BIN.match(path.name):
        return False
    try:
        with path.open("rb") as stream:
            head = stream.read(16)
    except OSError:
        return False
    if path.suffix == ".safetensors":
        return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size
    return path.suffix in (".ckpt", ".pt", ".pth", ".bin") and head.startswith((b"PK\x03\x04", b"\x80\x02"))


def step_of(path: Path) -> int | None:
    """The step in the name of a checkpoint or of the folders above it; the epoch where there is no step."""
    for pattern in _STEP:
        for part in reversed(path.parts):
            found = re.findall(pattern, part, re.IGNORECASE)
            if found:
                return int(found[-1])
    return None


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


def _size(path: Path) -> int:
    """Bytes of a checkpoint; of all shards where it is an index."""
    if not path.name.endswith(".index.json"):
        return path.stat().st_size
    stem = path.name.split(".", 1)[0]
    return sum(file.stat().st_size for file in path.parent.glob(f"{stem}-*") if file.is_file())
