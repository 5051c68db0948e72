"""Small file operations that a reader in another process can rely on."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, unquote


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then rename it: others see the whole file or none."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def cache_folder() -> Path:
    """Where the workbench keeps what it computed: ``WORKBENCH_CACHE_DIR``, or the user's cache folder."""
    given = os.environ.get("WORKBENCH_CACHE_DIR")
    if given:
        return Path(given)
    from platformdirs import user_cache_path

    return user_cache_path("urlearn-workbench")


def data_folder() -> Path:
    """Where the workbench keeps what its user made: ``WORKBENCH_DATA_DIR``, or the user's data folder."""
    given = os.environ.get("WORKBENCH_DATA_DIR")
    if given:
        return Path(given)
    from platformdirs import user_data_path

    return user_data_path("urlearn-workbench")


def write_content_atomically(path: Path, content: str | bytes) -> None:
    """Put text (UTF-8) or bytes into ``path`` in one step."""
    data = content.encode("utf-8") if isinstance(content, str) else content

    def write(temporary: Path) -> None:
        temporary.write_bytes(data)

    write_atomically(path, write)


def folder_name(name: str) -> str:
    """A file-system name for a layer or array name; :func:`unfolder_name` undoes it. Never leaves its folder."""
    quoted = quote(name, safe=" ()[]+=,-_.")
    return re.sub(r"^\.", "%2E", quoted)


def unfolder_name(name: str) -> str:
    return unquote(name)
