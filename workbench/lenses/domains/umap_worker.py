"""The child process that computes a UMAP map: ``python -m workbench.lenses.domains.umap_worker JOB_FOLDER``.

It reads and writes only its job folder (see :mod:`workbench.lenses.domains.map_jobs`).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from workbench.core.files import write_atomically, write_content_atomically

#: Share of the whole that is over when the optimisation starts (imports, compilation, neighbours).
_BEFORE_EPOCHS = 0.2


class _Progress:
    """Keeps the stage and the share of the work done in progress.json."""

    def __init__(self, folder: Path, n_slices: int) -> None:
        self._file = folder / "progress.json"
        self._runs = 1 if n_slices == 1 else n_slices + 1  # AlignedUMAP places every slice, then all of them together
        self._started = 0

    def report(self, stage: str, fraction: float) -> None:
        text = json.dumps({"stage": stage, "fraction": round(fraction, 3)})
        write_content_atomically(self._file, text)

    def epochs(self, iterable: range, **_: Any) -> Iterator[int]:
        """Stands in for the progress bar around the library's optimisation loop."""
        self._started += 1
        run = min(self._started, self._runs)
        stage = "placing the points" if self._runs == 1 else f"placing the points, pass {run} of {self._runs}"
        last = 0.0
        for epoch in iterable:
            if time.monotonic() - last > 0.3:
                done = (run - 1 + epoch / max(len(iterable), 1)) / self._runs
                self.report(stage, _BEFORE_EPOCHS + (1 - _BEFORE_EPOCHS) * done)
                last = time.monotonic()
            yield epoch


def main(folder: Path) -> int:
    """Compute the map of a job folder. Returns the exit code; what went wrong is in error.txt."""
    stop = threading.Event()
    threading.Thread(target=_stay_alive, args=(folder, stop), daemon=True).start()
    try:
        _compute(folder)
    except Exception as error:  # whatever the library raises is the job's result
        traceback.print_exc()
        text = f"UMAP failed: {type(error).__name__}: {error}"
        write_content_atomically(folder / "error.txt", text)
        return 1
    finally:
        stop.set()
    return 0


def _stay_alive(folder: Path, stop: threading.Event) -> None:
    """Touch ``alive`` every second; end the process when it is cancelled or its folder was deleted."""
    while not stop.wait(0.5):
        if (folder / "cancel").exists() or not folder.exists():
            os._exit(3)
        (folder / "alive").touch()


def _compute(folder: Path) -> None:
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    progress = _Progress(folder, request["slices"])
    progress.report("loading UMAP", 0.02)
    with np.load(folder / "input.npz") as stored:
        features = [stored[f"features_{i}"] for i in range(request["slices"])]
        samples = [stored[f"sample_{i}"] for i in range(request["slices"])]
    # Before anything is decided: a job that is started again at once writes this file anew.
    (folder / "input.npz").unlink()
    import umap
    import umap.layouts

    umap.layouts.tqdm = progress.epochs
    progress.report("finding neighbours", 0.1)
    options = {
        "n_neighbors": min(request["n_neighbors"], min(len(part) for part in features) - 1),
        "min_dist": request["min_dist"],
        "random_state": request["seed"],
    }
    placed = _place(umap, features, samples, options)
    if not all(np.isfinite(part).all() for part in placed):
        raise FloatingPointError("the map has points that are not finite")
    arrays = {f"slice_{i}": np.asarray(part, dtype=np.float64) for i, part in enumerate(placed)}
    write_atomically(folder / "result.npz", lambda path: _save(path, arrays))


def _place(umap: Any, features: list[np.ndarray], samples: list[np.ndarray], options: dict[str, Any]) -> list[Any]:
    if len(features) == 1:
        return [umap.UMAP(**options, n_jobs=1).fit_transform(features[0])]
    return list(umap.AlignedUMAP(**options).fit(features, relations=relations(samples)).embeddings_)


def relations(samples: list[np.ndarray]) -> list[dict[int, int]]:
    """For neighbouring slices: row in the first -> row in the second, for the samples they share."""
    found = []
    for before, after in itertools.pairwise(samples):
        place = {int(sample): row for row, sample in enumerate(after)}
        found.append({row: place[int(sample)] for row, sample in enumerate(before) if int(sample) in place})
    return found


def _save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


if __name__ == "__main__":
    with contextlib.suppress(AttributeError, OSError):
        os.nice(10)  # the page that shows the progress comes first
    started = time.monotonic()
    code = main(Path(sys.argv[1]))
    sys.stdout.write(f"ended with code {code} after {time.monotonic() - started:.1f} s\n")
    sys.exit(code)
