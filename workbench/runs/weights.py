"""Checkpoints without a log: a file of weights, or a folder that holds nothing else (Accelerate, Diffusers, exports).

The run has no tables; its checkpoints are listed and compared on its overview.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from workbench.core import Problem, RunWriter
from workbench.runs.checkpoint_files import INDEX_ENDINGS, TORCH_SUFFIXES, below, is_weights
from workbench.runs.format import Format

_ENDINGS = (".safetensors", *TORCH_SUFFIXES, *INDEX_ENDINGS)
#: Sub-folders that a folder of checkpoints may have. Others may hold logs, which must not be hidden.
_INNER = re.compile(r"^(checkpoint|ckpt|step|epoch|iter|weights|model|snapshot|pytorch_model|\.)", re.IGNORECASE)
_CONFIG = "config.json"
_LARGEST_CONFIG = 1_000_000


def recognises(path: Path) -> bool:
    if path.is_file():
        return path.name.endswith(_ENDINGS) and is_weights(path)
    if not path.is_dir():
        return False
    entries = list(path.iterdir())
    folders = [entry for entry in entries if entry.is_dir()]
    if any(not _INNER.match(folder.name) for folder in folders):
        return False
    places = [*entries, *(inner for folder in folders[:50] for inner in folder.iterdir())]
    return any(place.name.endswith(_ENDINGS) and place.is_file() and is_weights(place) for place in places)


def sources(path: Path) -> list[Path]:
    files = [entry.path for entry in below(path)]
    config = path / _CONFIG
    return [*files, config] if config.is_file() else files


def read(path: Path, writer: RunWriter) -> list[Problem]:
    """Keep the model's configuration, where one lies beside the weights."""
    found = below(path)
    writer.update(notes=(f"{len(found)} checkpoint{'s' if len(found) != 1 else ''} without a log.",))
    file = path / _CONFIG
    if not file.is_file() or file.stat().st_size > _LARGEST_CONFIG:
        return []
    try:
        config = json.loads(file.read_text(encoding="utf-8", errors="replace"))
    except (ValueError, RecursionError) as error:
        return [Problem(file, f"skipped, not valid JSON ({error})")]
    if not isinstance(config, dict):
        return [Problem(file, "skipped, it does not hold names with values")]
    writer.update(config=config)
    return []


FORMAT = Format("weights", "checkpoints without a log", recognises, sources, read)
