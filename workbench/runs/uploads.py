"""Files that somebody hands over: kept in the cache folder by the digest of their contents, archives unpacked safely.

Nothing is ever executed, no name leaves the folder, links and devices in archives are left out, and an archive that
would fill the disk is refused while it is being unpacked, whatever its header claims.
"""

from __future__ import annotations

import hashlib
import lzma
import re
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path, PurePosixPath
from typing import IO, cast

from workbench.core import ConfigError, RunFormatError
from workbench.core.files import cache_folder

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
#: An archive may hold at most so many files, and so many bytes unpacked.
MOST_FILES = 50_000
MOST_BYTES = 4_000_000_000
_CHUNK = 1 << 20
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError)


@dataclass(frozen=True)
class Received:
    """Where handed-over files are, and what of them was left out (links and devices inside archives)."""

    folder: Path
    left_out: tuple[str, ...] = ()


def uploads() -> Path:
    """The folder that holds everything that was handed over."""
    return cache_folder() / "uploads"


def receive(files: Sequence[tuple[str, BufferedIOBase]]) -> Received:
    """Keep files under one folder of :func:`uploads`; the same files again give the same folder.

    Args:
        files: Name (relative, with folders where a whole folder is handed over) and open stream of each. Archives
            (:data:`ARCHIVES`) are unpacked into a folder of their name.

    Raises:
        RunFormatError: a name that leaves its folder, a damaged or encrypted archive, or one that is too large.
        ConfigError: no files.
    """
    if not files:
        raise ConfigError("No file was given.")
    uploads().mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".receiving-", dir=uploads()))
    try:
        digest = hashlib.sha256()
        left_out: list[str] = []
        for name, stream in files:
            target = temporary / _relative(name)
            digest.update(f"{name}\0{_digest(stream)}\n".encode())
            stream.seek(0)
            suffix = _archive_suffix(name)
            if suffix is None:
                _write(stream, target, MOST_BYTES, name)
            else:
                left_out += _unpack(stream, target.with_name(target.name[: -len(suffix)] or "archive"), name)
        folder = uploads() / f"{_title(files[0][0])}-{digest.hexdigest()[:8]}"
        if not folder.exists():
            temporary.replace(folder)
        return Received(folder, tuple(left_out))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove(folder: Path) -> None:
    """Delete handed-over files. Raises ConfigError for any folder that is not directly in :func:`uploads`."""
    if folder.resolve().parent != uploads().resolve():
        raise ConfigError(f"{folder} was not handed over, so it is not deleted.")
    shutil.rmtree(folder, ignore_errors=True)


def inside(text: str, roots: Iterable[Path]) -> Path:
    """The existing file or folder that a pasted path names, if it lies in one of the folders ``roots``.

    A relative path is looked for in each of them. Links are followed before the check.

    Raises:
        ConfigError: outside of all of them, or there is nothing.
    """
    places = [root.resolve() for root in roots]
    given = Path(text.strip().strip("'\"")).expanduser()
    candidates = [given] if given.is_absolute() else [root / given for root in places]
    for candidate in candidates:
        try:
            found = candidate.resolve()
        except (OSError, RuntimeError, ValueError):
            continue
        if any(found.is_relative_to(root) for root in places):
            if found.exists():
                return found
            raise ConfigError(f"There is nothing at {given}.")
    known = ", ".join(map(str, places))
    raise ConfigError(
        f"{given} is outside the folders that may be read ({known}). Start the app on it: workbench app '{given}'."
    )


def _title(name: str) -> str:
    first = PurePosixPath(name.replace("\\", "/")).parts[0]
    stem = first[: -len(_archive_suffix(first) or PurePosixPath(first).suffix) or None]
    return re.sub(r"[^\w.-]+", "-", stem).strip(".-")[:60] or "upload"


def _archive_suffix(name: str) -> str | None:
    return next((suffix for suffix in sorted(ARCHIVES, key=len, reverse=True) if name.lower().endswith(suffix)), None)


def _relative(name: str) -> Path:
    """A name inside an archive or a browser's folder as a relative path that stays in its folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name) or "\0" in name or not path.parts:
        raise RunFormatError(f"The name {name!r} points outside its folder; refused.")
    return Path(*path.parts)


def _digest(stream: BufferedIOBase) -> str:
    digest = hashlib.sha256()
    while chunk := stream.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def _write(stream: BufferedIOBase, target: Path, most: int, about: str) -> int:
    """Copy a stream to a file; the bytes written. Raises RunFormatError beyond ``most`` bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with target.open("wb") as out:
        while chunk := stream.read(_CHUNK):
            written += len(chunk)
            if written > most:
                raise RunFormatError(f"{about} holds more than {MOST_BYTES / 1e9:.0f} GB unpacked; refused.")
            out.write(chunk)
    return written


def _unpack(stream: BufferedIOBase, into: Path, about: str) -> list[str]:
    """Unpack an archive; the names of entries that are neither files nor folders."""
    left_out: list[str] = []
    n_files = n_bytes = 0
    entries = _zip_entries if about.lower().endswith(".zip") else _tar_entries
    try:
        for name, content in entries(stream, left_out):
            n_files += 1
            if n_files > MOST_FILES:
                raise RunFormatError(f"{about} holds more than {MOST_FILES:,} files; refused.")
            n_bytes += _write(content, into / _relative(name), MOST_BYTES - n_bytes, about)
    except RunFormatError as error:
        raise RunFormatError(str(error) if about in str(error) else f"{about}: {error}") from None
    except RuntimeError as error:  # what zipfile raises for an encrypted entry
        raise RunFormatError(f"{about} cannot be unpacked ({error}). Unpack it yourself and give the folder.") from None
    except _DAMAGED as error:
        reason = str(error) or type(error).__name__
        raise RunFormatError(f"{about} is not a readable archive ({reason}).") from None
    if n_files == 0:
        raise RunFormatError(f"{about} holds no files.")
    return left_out


def _zip_entries(stream: BufferedIOBase, left_out: list[str]) -> Iterator[tuple[str, BufferedIOBase]]:
    with zipfile.ZipFile(cast(IO[bytes], stream)) as archive:
        for entry in archive.infolist():
            kind = entry.external_attr >> 28  # the file type of a Unix mode, 0 where none was stored
            if entry.is_dir() or entry.filename.startswith("__MACOSX/"):
                continue
            if kind not in (0, 0o10):
                left_out.append(entry.filename)
                continue
            with archive.open(entry) as content:
                yield entry.filename, cast(BufferedIOBase, content)


def _tar_entries(stream: BufferedIOBase, left_out: list[str]) -> Iterator[tuple[str, BufferedIOBase]]:
    with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r:*") as archive:
        for entry in archive:
            if entry.isdir():
                continue
            content = archive.extractfile(entry) if entry.isreg() else None
            if content is None:
                left_out.append(entry.name)
            else:
                with content:
                    yield entry.name, cast(BufferedIOBase, content)
