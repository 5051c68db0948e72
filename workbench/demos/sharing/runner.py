"""Work that takes minutes, problem by problem, in a child process: resumable, and stopped at once when asked.

Every result is a small JSON file that is written when its problem is done, and is not computed again as long as the
problem and the settings are the same. A killed run goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.core import WorkbenchError
from workbench.core.files import write_content_atomically
from workbench.demos.sharing.problem import Sharing

#: Seconds between two looks at the child.
POLL = 0.2

#: A function of a module (the child imports it) from a problem and settings to what JSON can hold.
Work = Callable[..., Mapping[str, Any]]


@dataclass(frozen=True)
class Item:
    """One piece of work: ``work(problem, **settings)``, kept in ``file``."""

    work: Work
    problem: Sharing
    settings: Mapping[str, Any]
    folder: Path

    @property
    def key(self) -> str:
        """Changes with the problem, the settings and the kind of work."""
        text = repr((self.work.__module__, self.work.__qualname__, self.problem, sorted(self.settings.items())))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def file(self) -> Path:
        readable = re.sub(r"[^a-z0-9]+", "-", self.problem.name.lower()).strip("-")
        return self.folder / f"{readable[:80]}-{self.key}.json"

    def do(self) -> None:
        write_content_atomically(self.file, json.dumps(self.work(self.problem, **self.settings)))

    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.file.read_text(encoding="utf-8"))
        return found


def run(
    items: Iterable[Item],
    progress: Callable[[int, int], None] = lambda done, total: None,
    stop: Callable[[], bool] = lambda: False,
) -> list[dict[str, Any]]:
    """Results in the order of the items; those that are there are read, the others computed in one child process.

    Args:
        progress: Called with (done, total) now and then.
        stop: When it returns True, the child is ended and the results so far are returned.

    Raises:
        WorkbenchError: the child ended before its work was done; its own message is on stderr.
    """
    items = list(items)
    missing = [item for item in items if not item.file.exists()]
    for folder in {item.folder for item in missing}:
        folder.mkdir(parents=True, exist_ok=True)
    if missing:
        child = multiprocessing.get_context("spawn").Process(target=_work, args=(missing,), daemon=True)
        child.start()
        try:
            while child.is_alive() and not stop():
                child.join(POLL)
                progress(sum(item.file.exists() for item in items), len(items))
        finally:
            child.terminate()
            child.join()
    found = [item.result() for item in items if item.file.exists()]
    if len(found) < len(items) and not stop():
        raise WorkbenchError(
            f"The child process ended with code {child.exitcode} after {len(found)} of {len(items)} problems. "
            "Its message is above; run the command again to go on from there."
        )
    return found


def _work(items: list[Item]) -> None:
    import signal

    import torch

    # Ctrl+C reaches the whole group of processes; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    for item in items:
        item.do()
