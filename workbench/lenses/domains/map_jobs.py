"""UMAP maps in a child process: started once, found again by content, pollable, cancellable, kept on disk.

A job is a folder in the user's cache (``WORKBENCH_CACHE_DIR`` overrides the place) named by a digest of the points and
the options, so that any page, process or later day that asks for the same map finds the same job:

    request.json  options        input.npz   the points, until the job is over
    alive         touched every second by the child          progress.json   stage and fraction
    result.npz    the coordinates                            error.txt       why it failed
    cancel        asks the child to stop
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from workbench.core import ConfigError, WorkbenchError
from workbench.core.files import cache_folder, write_atomically
from workbench.lenses.domains.maps import Layout, judged_layout
from workbench.lenses.domains.points import Points

State = Literal["absent", "running", "done", "failed", "cancelled"]

#: A child that has not touched its file for so long is taken for dead.
STALE_SECONDS = 60.0
#: Job folders kept; the oldest go first.
MAX_JOBS = 200
_MIN_POINTS = 10
_children: dict[Path, subprocess.Popen[bytes]] = {}


class MapFailed(WorkbenchError):
    """The map was not computed; the text says why."""


@dataclass(frozen=True)
class MapJob:
    """A UMAP map of one or several slices (checkpoints of one layer), wherever and whenever it was started."""

    folder: Path

    @property
    def state(self) -> State:
        if (self.folder / "result.npz").exists():
            return "done"
        if (self.folder / "error.txt").exists():
            return "failed"
        if (self.folder / "cancel").exists():
            return "cancelled"
        child = _children.get(self.folder)
        if child is not None and child.poll() is not None:
            # Look again: the child may have written its result between the first look and its end.
            return "done" if (self.folder / "result.npz").exists() else "failed"
        try:
            silent = time.time() - (self.folder / "alive").stat().st_mtime
        except FileNotFoundError:
            return "absent"
        return "running" if silent < STALE_SECONDS else "failed"

    @property
    def progress(self) -> float:
        """Share of the work done, in [0, 1]."""
        return 1.0 if self.state == "done" else float(self._report().get("fraction", 0.0))

    @property
    def stage(self) -> str:
        """What the child is doing, in words."""
        return "finished" if self.state == "done" else str(self._report().get("stage", "starting"))

    def _report(self) -> dict[str, Any]:
        try:
            report = json.loads((self.folder / "progress.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return report if isinstance(report, dict) else {}

    @property
    def error(self) -> str:
        """Why the job failed; empty otherwise."""
        try:
            return (self.folder / "error.txt").read_text(encoding="utf-8")
        except OSError:
            return "The process that computed the map ended early." if self.state == "failed" else ""

    def result(self) -> list[Float[np.ndarray, "_ 2"]]:
        """Coordinates of every slice.

        Raises:
            MapFailed: the job is not done; the text says what it is instead.
        """
        if self.state != "done":
            raise MapFailed(self.error or f"The map is not there: the job is {self.state}. Start it with start_map().")
        with np.load(self.folder / "result.npz") as stored:
            return [stored[f"slice_{i}"] for i in range(len(stored.files))]

    def cancel(self) -> None:
        """Ask the child to stop; a finished map stays."""
        if self.state != "running":
            return
        (self.folder / "cancel").touch()
        child = _children.get(self.folder)
        if child is not None and child.poll() is None:
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(5)

    def wait(self, seconds: float = 300.0) -> MapJob:
        """Block until the job is over or the time is up; for notebooks and scripts."""
        until = time.monotonic() + seconds
        while self.state == "running" and time.monotonic() < until:
            time.sleep(0.2)
        return self


def start_map(slices: Points | Sequence[Points], n_neighbors: int = 15, min_dist: float = 0.1, seed: int = 0) -> MapJob:
    """Start the UMAP map of some points, or find it finished or running. Returns at once.

    One slice is mapped by UMAP; several (checkpoints of one layer) by AlignedUMAP, which keeps samples that occur in
    neighbouring slices close together. A failed or cancelled job is started afresh.

    Source: McInnes et al. 2018, arXiv:1802.03426; AlignedUMAP as in umap-learn, with its default alignment.
    """
    job = find_map(slices, n_neighbors, min_dist, seed)
    if job.state in ("done", "running"):
        return job
    found = _as_slices(slices)
    if min(len(points.sample) for points in found) < _MIN_POINTS:
        raise ConfigError(f"A UMAP map needs at least {_MIN_POINTS} points; use the PCA map.")
    _prune(job.folder.parent)
    job.folder.mkdir(parents=True, exist_ok=True)
    for name in ("cancel", "error.txt", "progress.json"):
        (job.folder / name).unlink(missing_ok=True)
    arrays = {f"features_{i}": points.features for i, points in enumerate(found)}
    arrays |= {f"sample_{i}": points.sample for i, points in enumerate(found)}
    write_atomically(job.folder / "input.npz", lambda path: _save(path, arrays))
    request = {"slices": len(found), "n_neighbors": n_neighbors, "min_dist": min_dist, "seed": seed}
    (job.folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
    (job.folder / "alive").touch()
    with (job.folder / "log.txt").open("wb") as log:
        _children[job.folder] = subprocess.Popen(
            [sys.executable, "-m", "workbench.lenses.domains.umap_worker", str(job.folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return job


def find_map(slices: Points | Sequence[Points], n_neighbors: int = 15, min_dist: float = 0.1, seed: int = 0) -> MapJob:
    """The job of these points and options, whether or not it was ever started."""
    digest = hashlib.sha256(json.dumps([n_neighbors, min_dist, seed]).encode())
    for points in _as_slices(slices):
        digest.update(points.digest)
    return MapJob(cache_folder() / "maps" / digest.hexdigest()[:32])


def finished_map(points: Points) -> Layout | None:
    """The UMAP map of one slice with the default options, if a job has finished it."""
    job = find_map(points)
    return judged_layout("umap", points, job.result()[0]) if job.state == "done" else None


def _as_slices(slices: Points | Sequence[Points]) -> list[Points]:
    return [slices] if isinstance(slices, Points) else list(slices)


def _save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def _prune(folder: Path) -> None:
    """Delete the oldest job folders beyond ``MAX_JOBS``."""
    if not folder.is_dir():
        return
    jobs = sorted((child for child in folder.iterdir() if child.is_dir()), key=lambda child: child.stat().st_mtime)
    for child in jobs[: max(0, len(jobs) - MAX_JOBS)]:
        shutil.rmtree(child, ignore_errors=True)
