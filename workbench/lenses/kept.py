"""What a person keeps about a run: named selections, edited label spaces. Never written into the run's own folder.

    <data folder>/analysis/<digest of the run's path>/<kind>/<name>.json

:func:`workbench.core.files.data_folder` says where; a run that is moved leaves its analysis behind.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from workbench.core import ConfigError, Run
from workbench.core.files import data_folder, folder_name, unfolder_name, write_content_atomically

#: The longest name, in characters.
MAX_NAME = 80


def keep(run: Run, kind: str, name: str, value: Any) -> Path:
    """Keep a value that JSON knows under a name; one that is there is replaced. Returns its file.

    Raises:
        ConfigError: the name is empty or too long.
    """
    name = name.strip()
    if not name or len(name) > MAX_NAME:
        raise ConfigError(f"A name must have 1 to {MAX_NAME} characters; got {len(name)}.")
    folder = _folder(run, kind)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{folder_name(name)}.json"
    write_content_atomically(path, json.dumps(value, ensure_ascii=False))
    return path


def kept(run: Run, kind: str) -> dict[str, Any]:
    """Name -> value of all that was kept, by name; a damaged file is passed over."""
    found = {}
    for path in sorted(_folder(run, kind).glob("*.json")):
        try:
            found[unfolder_name(path.stem)] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
    return found


def forget(run: Run, kind: str, name: str) -> None:
    """Delete what was kept under a name; nothing happens where there is none."""
    (_folder(run, kind) / f"{folder_name(name)}.json").unlink(missing_ok=True)


def run_key(run: Run) -> str:
    """A file-system name that stands for the place of a run."""
    return hashlib.sha256(str(run.identity).encode()).hexdigest()[:20]


def _folder(run: Run, kind: str) -> Path:
    return data_folder() / "analysis" / run_key(run) / kind
