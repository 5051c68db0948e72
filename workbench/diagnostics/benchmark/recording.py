"""How much longer does a training take when it is recorded at the default cadence?

The same training runs twice in turn, without and with recording, in every round; the figure is the CPU time of the one
over that of the other. The share that the recorder itself reports stands beside it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from workbench.diagnostics.benchmark.gramian_cases import CASES
from workbench.diagnostics.recorder import Recorder


@runtime_checkable
class Problem(Protocol):
    """A trunk that the heads of T tasks share, with its data: every call of ``losses`` is a new forward pass."""

    @property
    def trunk(self) -> nn.Module: ...

    @property
    def heads(self) -> nn.Module: ...

    def losses(self) -> dict[str, Tensor]:
        """Task -> loss of every sample [B]."""


@runtime_checkable
class Case(Protocol):
    """A problem that can be built anew, always the same."""

    @property
    def name(self) -> str: ...

    def build(self) -> Problem:
        """Fresh weights and data."""


@dataclass(frozen=True)
class Overhead:
    """Of one case.

    Attributes:
        ratios: CPU time with recording over without, one per round.
        reported: The share of wall time that the recorder reports at the end, one per round.
        records: Steps at which it recorded, one per round.
    """

    ratios: tuple[float, ...]
    reported: tuple[float, ...]
    records: tuple[int, ...]


def run(
    cases: Sequence[Case] = (CASES[1], CASES[3], CASES[5]), *, steps: int = 200, rounds: int = 3
) -> dict[str, Overhead]:
    """Train each case for some steps with one torch thread, with task gradients recorded when due."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {case.name: _overhead(case, steps, rounds) for case in cases}
    finally:
        torch.set_num_threads(threads)


def markdown(figures: dict[str, Overhead]) -> str:
    """The figures as a Markdown table, one row a case."""
    lines = ["| case | time with / without: median (range) | share reported | steps recorded |", "|---|---|---|---|"]
    for case, found in figures.items():
        low, middle, high = min(found.ratios), float(np.median(found.ratios)), max(found.ratios)
        reported = f"{100 * float(np.median(found.reported)):.1f} %"
        records = round(float(np.median(found.records)))
        lines.append(f"| {case} | {middle:.3f} ({low:.3f}–{high:.3f}) | {reported} | {records} |")
    return "\n".join(lines) + "\n"


def _overhead(case: Case, steps: int, rounds: int) -> Overhead:
    _train(case.build(), 3, None)
    ratios, reported, records = [], [], []
    for _ in range(rounds):
        without = _train(case.build(), steps, None)
        with tempfile.TemporaryDirectory() as folder, Recorder(Path(folder) / "run") as rec:
            problem = case.build()
            rec.task_gradients(-1, problem.losses(), shared=problem.trunk)  # first calls of a process are slow
            start = rec.recording_seconds
            begin, count = time.perf_counter(), [0]
            recorded = _train(problem, steps, rec, count)
            reported.append((rec.recording_seconds - start) / (time.perf_counter() - begin))
        ratios.append(recorded / without)
        records.append(count[0])
    return Overhead(tuple(ratios), tuple(reported), tuple(records))


def _train(problem: Problem, steps: int, rec: Recorder | None, count: list[int] | None = None) -> float:
    """CPU seconds of a training by plain gradient descent."""
    parameters = [*problem.trunk.parameters(), *problem.heads.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.01)
    start = time.process_time()
    for step in range(steps):
        losses = problem.losses()
        if rec is not None and rec.due(step):
            rec.task_gradients(step, losses, shared=problem.trunk)
            if count is not None:
                count[0] += 1
        optimizer.zero_grad()
        torch.stack([loss.mean() for loss in losses.values()]).sum().backward()
        optimizer.step()
    return time.process_time() - start
