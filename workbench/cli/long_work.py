"""What commands that work for minutes share: a progress bar on stderr, and an end by Ctrl+C that keeps what is done."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from workbench.core.files import write_content_atomically

#: The progress file is written no more often than this, in seconds.
REPORT_EVERY = 0.3
#: For programs that start a command and show how far it is: they read {"done", "total"} from this file.
progress_file_option = click.option("--progress-file", type=click.Path(path_type=Path), hidden=True)


def progress_bar() -> Progress:
    from rich.console import Console

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))


@contextmanager
def stop_on_interrupt() -> Iterator[list[int]]:
    """A list that is empty until Ctrl+C is pressed; a second Ctrl+C interrupts at once."""
    pressed: list[int] = []

    def handle(number: int, frame: object) -> None:
        pressed.append(number)
        signal.signal(signal.SIGINT, previous)

    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def progress(title: str, file: Path | None = None) -> Iterator[Callable[[int, int], None]]:
    """A function of (done, total) that moves a bar on stderr, and writes the numbers to a file when one is given."""
    last = 0.0

    def report(done: int, total: int) -> None:
        nonlocal last
        bar.update(task, completed=done, total=total)
        if file is not None and (done >= total or time.monotonic() - last > REPORT_EVERY):
            last = time.monotonic()
            write_content_atomically(file, json.dumps({"done": done, "total": total}))

    with progress_bar() as bar:
        task = bar.add_task(title, total=None)
        yield report
