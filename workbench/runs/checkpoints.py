"""Checkpoints of any training: names, shapes, norms, and what changed between two of them. Nothing in them is executed.

Safetensors files (also sharded ones) are read as they are. PyTorch files (.ckpt, .pt, .pth, .bin) are opened with
``weights_only=True``; one that needs more than tensors and plain containers is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench.core import RunFormatError
from workbench.runs.checkpoint_files import INDEX_ENDINGS, TORCH_SUFFIXES, find_checkpoints, weight_map

#: Keys under which trainers keep the model inside a checkpoint, in order of preference.
_MODEL_KEYS = ("state_dict", "model_state_dict", "model", "model_dict", "network", "module")


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a checkpoint, loaded one at a time.

    Attributes:
        shapes: Tensor name -> shape.
        load: Tensor name -> array; bfloat16 becomes float32.
        other: Names of what else the file holds (optimizer state, step…).
    """

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    load: Callable[[str], np.ndarray]
    other: tuple[str, ...] = ()

    def state(self) -> dict[str, np.ndarray]:
        """All tensors at once."""
        return {name: self.load(name) for name in self.shapes}

    def frame(self) -> pd.DataFrame:
        """One row a tensor: name, shape, parameters, norm (Euclidean), and whether all entries are finite."""
        rows = []
        for name, shape in self.shapes.items():
            values = _flat(self.load(name))
            norm = float(np.linalg.norm(values))
            finite = bool(np.isfinite(values).all())
            rows.append((name, "×".join(map(str, shape)) or "scalar", int(np.prod(shape)), norm, finite))
        return pd.DataFrame(rows, columns=["tensor", "shape", "parameters", "norm", "finite"])


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Open a checkpoint file, or a folder that holds exactly one.

    Raises:
        RunFormatError: no checkpoint, a damaged one, or one that would have to run code to be opened.
    """
    file = Path(path)
    if file.is_dir():
        found = find_checkpoints(file)
        if len(found) != 1:
            raise RunFormatError(f"{file} holds {len(found)} checkpoints; name one of them.")
        file = found[0]
    if file.name.endswith(INDEX_ENDINGS):
        shards = [file.parent / name for name in sorted(set(weight_map(file).values()))]
        return _safetensors(file, shards) if file.name.endswith(INDEX_ENDINGS[0]) else _joined(file, shards)
    if file.suffix == ".safetensors":
        return _safetensors(file, [file])
    if file.suffix in TORCH_SUFFIXES:
        return _torch(file)
    raise RunFormatError(f"{file} is no checkpoint: expected .safetensors or {', '.join(TORCH_SUFFIXES)}.")


def changes(before: Checkpoint, after: Checkpoint) -> pd.DataFrame:
    """What changed, one row a tensor in the order of ``after``.

    ``norm`` is |before|; ``relative_change`` is |after - before| / |before|; ``cosine`` is that of the two flattened
    tensors. All are NaN for tensors that are in one checkpoint only or whose shapes differ, as ``status`` says.
    """
    rows = []
    for name in [*after.shapes, *(name for name in before.shapes if name not in after.shapes)]:
        old, new = before.shapes.get(name), after.shapes.get(name)
        norm = relative = cosine = np.nan
        if old is None or new is None:
            status = "added" if old is None else "removed"
        elif old != new:
            status = f"shape changed from {old} to {new}"
        else:
            first, second = _flat(before.load(name)), _flat(after.load(name))
            norm, other = float(np.linalg.norm(first)), float(np.linalg.norm(second))
            relative = float(np.linalg.norm(second - first)) / norm if norm > 0 else np.nan
            cosine = float(np.clip(first @ second / (norm * other), -1, 1)) if norm > 0 and other > 0 else np.nan
            status = "same" if np.array_equal(first, second, equal_nan=True) else "changed"
        rows.append((name, status, int(np.prod(new or old or ())), norm, relative, cosine))
    return pd.DataFrame(rows, columns=["tensor", "status", "parameters", "norm", "relative_change", "cosine"])


def _flat(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float64).ravel()


def _safetensors(path: Path, files: list[Path]) -> Checkpoint:
    shapes: dict[str, tuple[int, ...]] = {}
    home: dict[str, Path] = {}
    with ExitStack() as stack:
        for file in files:
            tensors = stack.enter_context(_opened(file))
            for name in tensors.keys():  # noqa: SIM118  # safe_open is not a mapping
                shapes[name] = tuple(tensors.get_slice(name).get_shape())
                home[name] = file

    def load(name: str) -> np.ndarray:
        with _opened(home[name]) as tensors:
            if tensors.get_slice(name).get_dtype() == "BF16":
                return _bfloat16(home[name], name)
            return np.asarray(tensors.get_tensor(name))

    return Checkpoint(path, shapes, load)


def _opened(file: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(file, framework="numpy")
    except (SafetensorError, OSError, ValueError) as error:
        raise RunFormatError(f"{file} is not a readable safetensors file ({error}).") from None


def _bfloat16(file: Path, name: str) -> np.ndarray:
    """numpy has no bfloat16: the 16 bits are the upper half of a float32."""
    with file.open("rb") as stream:
        header_size = int.from_bytes(stream.read(8), "little")
        entry = json.loads(stream.read(header_size))[name]
        begin, end = entry["data_offsets"]
        stream.seek(8 + header_size + begin)
        upper = np.frombuffer(stream.read(end - begin), "<u2").astype(np.uint32) << 16
    return upper.view(np.float32).reshape(entry["shape"])


def _joined(path: Path, files: list[Path]) -> Checkpoint:
    """The shards of a PyTorch checkpoint as one."""
    shards = [_torch(file) for file in files]
    home = {name: shard for shard in shards for name in shard.shapes}
    shapes = {name: shard.shapes[name] for name, shard in home.items()}
    return Checkpoint(path, shapes, lambda name: home[name].load(name))


def _torch(file: Path) -> Checkpoint:
    import pickle

    import torch

    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise RunFormatError(
            f"{file} was not opened: it holds more than tensors and plain values, and opening it could run code "
            f"({reason}). If you trust it, convert it where it was made: "
            "safetensors.torch.save_file(model.state_dict(), 'model.safetensors')."
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, IndexError, TypeError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunFormatError(f"{file} is not a readable PyTorch checkpoint ({first_line}).") from None
    inner = next((content[key] for key in _MODEL_KEYS if isinstance(content, dict) and key in content), content)
    tensors = dict(_tensors(inner))
    if not tensors:
        raise RunFormatError(f"{file} holds no tensors.")
    other = tuple(str(key) for key in content if content[key] is not inner) if inner is not content else ()
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    return Checkpoint(file, shapes, lambda name: tensors[name].float().numpy(), other)


def _tensors(item: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dense tensors in nested dicts and lists, with dotted names."""
    import torch

    if isinstance(item, torch.Tensor):
        if not item.is_complex() and item.layout == torch.strided and not item.is_quantized:
            yield prefix, item.detach()
    elif isinstance(item, Mapping):
        for key, value in item.items():
            yield from _tensors(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(item, (list, tuple)):
        for place, value in enumerate(item):
            yield from _tensors(value, f"{prefix}.{place}" if prefix else str(place))
