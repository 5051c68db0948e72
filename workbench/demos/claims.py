"""Train what the claims compare, one process a run, and put the findings on a board.

Runs that are done are not trained again, so a training that was stopped goes on where it ended.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from workbench.core import ConfigError, Run, WorkbenchError
from workbench.demos.board import Row, rows_of
from workbench.demos.recipe import RESULT, Recipe

logger = logging.getLogger(__name__)

Engine = Literal["processes", "ray"]
#: How often a waiting process is looked at, in seconds.
POLL = 0.2
#: How long a stopped training may take to close its run, in seconds.
PATIENCE = 20.0


@dataclass(frozen=True)
class Order:
    """One training that a claim needs."""

    recipe: str
    variant: str
    seed: int
    folder: Path
    short: bool = False

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.folder / self.recipe / f"seed-{self.seed}" / self.variant

    @property
    def command(self) -> list[str]:
        options = ["--only", self.variant, "--seed", str(self.seed), "--out", str(self.path.parent)]
        flags = ["--threads", "1", "--lean", "--overwrite", *(["--short"] if self.short else [])]
        return [sys.executable, "-m", "workbench", "train", self.recipe, *options, *flags]


@dataclass(frozen=True)
class Failure:
    """A training that ended without results: its order, and the last line it wrote."""

    order: Order
    reason: str


def orders_of(recipes: Sequence[Recipe], folder: Path, seeds: int | None = None, *, short: bool = False) -> list[Order]:
    """Every training that the recipes' claims need, seed by seed, so that a board that is stopped is thin, not cut.

    Args:
        seeds: How many of each recipe's reported seeds; all of them when None.

    Raises:
        ConfigError: more seeds are asked for than a recipe reports.
    """
    for recipe in recipes:
        if seeds is not None and seeds > len(recipe.seeds):
            raise ConfigError(f"Recipe '{recipe.name}' reports {len(recipe.seeds)} seeds; {seeds} were asked for.")
    longest = max((len(recipe.seeds[:seeds]) for recipe in recipes), default=0)
    return [
        Order(recipe.name, variant, recipe.seeds[index], folder, short)
        for index in range(longest)
        for recipe in recipes
        if index < len(recipe.seeds[:seeds])
        for variant in dict.fromkeys(name for claim in recipe.claims for name in claim.variants)
    ]


def results_at(path: Path) -> dict[str, float]:
    """The results of a run that is done; nothing where the run is missing, damaged or not done."""
    try:
        run = Run(path)
        if run.info.status != "done":
            return {}
        found = run.query(f"SELECT tag, value FROM scalars WHERE starts_with(tag, '{RESULT}')")
    except WorkbenchError:
        return {}
    return {tag.removeprefix(RESULT): float(value) for tag, value in zip(found["tag"], found["value"], strict=True)}


def train_all(
    orders: Sequence[Order],
    jobs: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
    stop: Callable[[], bool] = lambda: False,
    engine: Engine = "processes",
) -> list[Failure]:
    """Train the orders whose runs are not done yet.

    Args:
        jobs: Trainings at a time, each with one thread.
        progress: Called with (done, in all), the runs that were there included.
        stop: Asked several times a second; when it returns True, running trainings close their runs and end.
        engine: ``ray`` hands the trainings to a Ray cluster that sees the same folders.

    Returns:
        The trainings that failed; the others are on disk.

    Raises:
        ConfigError: Ray is asked for and not installed.
    """
    waiting = [order for order in orders if not results_at(order.path)]
    done, failures = len(orders) - len(waiting), []
    progress(done, len(orders))
    with _trainer(engine) as run_one, ThreadPoolExecutor(max(1, jobs)) as pool:
        futures = [pool.submit(run_one, order, stop) for order in waiting]
        for future in as_completed(futures):
            failure = future.result()
            if failure is not None:
                failures.append(failure)
            done += 1
            progress(done, len(orders))
    return [] if stop() else failures


def findings(recipes: Sequence[Recipe], orders: Sequence[Order]) -> list[Row]:
    """The board's rows from the runs that are done."""
    rows: list[Row] = []
    for recipe in recipes:
        own = [order for order in orders if order.recipe == recipe.name]
        seconds = [_seconds(order.path) for order in own if results_at(order.path)]
        rows += rows_of(recipe, results_of(recipe, orders), seconds, short=any(order.short for order in own))
    return rows


def results_of(recipe: Recipe, orders: Sequence[Order]) -> dict[int, dict[str, dict[str, float]]]:
    """Seed -> variant -> results of a recipe's runs that are done."""
    trained: dict[int, dict[str, dict[str, float]]] = {}
    for order in orders:
        if order.recipe == recipe.name and (found := results_at(order.path)):
            trained.setdefault(order.seed, {})[order.variant] = found
    return trained


def _seconds(path: Path) -> float:
    info = Run(path).info
    assert info.finished is not None  # results_at reads runs that are done
    return (datetime.fromisoformat(info.finished) - datetime.fromisoformat(info.created)).total_seconds()


Trainer = Callable[[Order, Callable[[], bool]], Failure | None]


@contextmanager
def _trainer(engine: Engine) -> Iterator[Trainer]:
    if engine == "processes":
        yield train_one
        return
    try:
        import ray
    except ImportError:
        raise ConfigError("Ray is not installed. Install it with: pip install 'urlearn-workbench[ray]'") from None
    started = not ray.is_initialized()
    if started:
        ray.init(include_dashboard=False, log_to_driver=False)
    try:
        yield _on_ray(ray)
    finally:
        if started:
            ray.shutdown()


def _on_ray(ray: Any) -> Trainer:
    remote = ray.remote(num_cpus=1)(train_one)

    def run_one(order: Order, stop: Callable[[], bool]) -> Failure | None:
        if stop():
            return None
        task = remote.remote(order, _never)
        while not ray.wait([task], timeout=POLL)[0]:
            if stop():
                ray.cancel(task, force=True)
                return None
        failure: Failure | None = ray.get(task)
        return failure

    return run_one


def _never() -> bool:
    return False


def train_one(order: Order, stop: Callable[[], bool]) -> Failure | None:
    """Train one order in a process of its own. None when its results are there, or when it was stopped."""
    if stop():
        return None
    order.path.parent.mkdir(parents=True, exist_ok=True)
    log = order.path.parent / f"{order.variant}.log"
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with log.open("wb") as output:
        child = subprocess.Popen(
            order.command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=os.environ | threads,
            start_new_session=True,  # Ctrl+C reaches this process alone, which then asks each child once
        )
        while child.poll() is None:
            if stop():
                _end(child)
                return None
            time.sleep(POLL)
    if child.returncode == 0 and results_at(order.path):
        log.unlink()
        return None
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    logger.warning("Training %s failed; its output is in %s", order.path, log)
    return Failure(order, lines[-1] if lines else f"exit code {child.returncode}, no output")


def _end(child: subprocess.Popen[bytes]) -> None:
    """Ask a training to close its run; end it when it does not."""
    child.send_signal(signal.SIGINT)
    try:
        child.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
