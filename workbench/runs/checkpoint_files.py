"""Where checkpoints are: model weights below a folder, in the order of their steps, by names and first bytes.

The states of optimizers, schedulers and random number generators that lie beside them are left out.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from workbench.core import Run, RunFormatError

TORCH_SUFFIXES = (".ckpt", ".pt", ".pth", ".bin")
#: Files that name the shards of a checkpoint and the tensors in each.
INDEX_ENDINGS = (".safetensors.index.json", ".bin.index.json")
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


def find_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints below a folder: files, and index files for sharded ones (their shards are not listed again)."""
    indices = sorted(file for ending in INDEX_ENDINGS for file in folder.rglob(f"*{ending}"))
    shards = {index.parent / name for index in indices for name in _shard_names(index)}
    files = [
        *folder.rglob("*.safetensors"),
        *(file for suffix in TORCH_SUFFIXES for file in folder.rglob(f"*{suffix}")),
    ]
    arrays = folder / "arrays"
    return indices + sorted(file for file in files if file not in shards and arrays not in file.parents)


def _shard_names(index: Path) -> set[str]:
    try:
        return set(weight_map(index).values())
    except RunFormatError:  # said when the checkpoint is opened
        return set()


def weight_map(index: Path) -> dict[str, str]:
    """Tensor name -> file of its shard. Raises RunFormatError for no index, or one that names files elsewhere."""
    try:
        weights = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = {str(key): str(value) for key, value in weights.items()}
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise RunFormatError(f"{index} is not an index of shards ({error}).") from None
    outside = [name for name in names.values() if Path(name).name != name]
    if outside:
        raise RunFormatError(f"{index} names the shard '{outside[0]}' outside its own folder; refused.")
    return names


def _size(path: Path) -> int:
    """Bytes of a checkpoint; of all shards where it is an index."""
    if not path.name.endswith(".index.json"):
        return path.stat().st_size
    stem = path.name.split(".", 1)[0]
    return sum(file.stat().st_size for file in path.parent.glob(f"{stem}-*") if file.is_file())
