"""How long does the GSNR of every parameter take, how much memory, how exact is it, and what do others need?

Time is CPU time in units of one plain forward and backward pass of the same batch. In every round all approaches run
one after the other, beginning with the plain pass, so that a slow moment of the machine hits all; the table shows the
median of the rounds' ratios and their quartiles. Memory is the peak over the built model, each in its own process.
Accuracy is ‖variance − reference‖ / ‖reference‖ over all parameters, the reference being a loop in float64.
"""

from __future__ import annotations

import copy
import multiprocessing
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from workbench.core.memory import peak_megabytes_of_this_process
from workbench.diagnostics.benchmark.nets import CASES, Case, Problem
from workbench.diagnostics.benchmark.peers import APPROACHES, Unsupported, naive


@dataclass(frozen=True)
class Figure:
    """One cell of the table.

    Attributes:
        ratios: Time over the plain pass of the same round, one per round; empty when the case is not supported.
        megabytes: Peak memory over the built model; NaN when not measured.
        error: Relative error of the variances; NaN for the plain pass.
        why_not: The reason when the case is not supported.
    """

    ratios: tuple[float, ...] = ()
    megabytes: float = float("nan")
    error: float = float("nan")
    why_not: str = ""
    seconds: tuple[float, ...] = field(default=())


def run(
    cases: Sequence[Case] = CASES,
    approaches: Sequence[str] = tuple(APPROACHES),
    *,
    rounds: int = 7,
    memory: bool = True,
    slowest: float = 30.0,
) -> dict[str, dict[str, Figure]]:
    """Measure every approach on every case with one torch thread.

    Args:
        slowest: An approach that needs more than so many plain passes runs in two rounds only.

    Returns:
        case -> approach -> figure.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the other programs warn about what they do; the figures show it
            return {case.name: _case(case, approaches, rounds, memory, slowest) for case in cases}
    finally:
        torch.set_num_threads(threads)


def markdown(figures: Mapping[str, Mapping[str, Figure]], error_of: str = "variance") -> str:
    """The figures as a Markdown table, one row per case and approach."""
    lines = [
        f"| case | approach | time / plain: median (quartiles) | peak MB over the model | error of the {error_of} |",
        "|---|---|---|---|---|",
    ]
    for case, row in figures.items():
        for approach, figure in row.items():
            memory, error = _number(figure.megabytes, ".0f"), _number(figure.error, ".0e")
            lines.append(f"| {case} | {approach} | {_time(figure)} | {memory} | {error} |")
    return "\n".join(lines) + "\n"


def _time(figure: Figure) -> str:
    if not figure.ratios:
        return figure.why_not
    low, middle, high = np.percentile(figure.ratios, (25, 50, 75))
    return f"{middle:.2f} ({low:.2f}–{high:.2f})"


def _number(value: float, form: str) -> str:
    return "" if np.isnan(value) else format(value, form)


def _case(case: Case, approaches: Sequence[str], rounds: int, memory: bool, slowest: float) -> dict[str, Figure]:
    calls, why_not = _prepare(case, approaches)
    reference = _reference(case)
    errors = {name: _error(call(), reference) for name, call in calls.items() if name != "plain"}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds):
        for name, call in calls.items():
            if number >= 2 and np.median(seconds[name]) > slowest * np.median(seconds["plain"]):
                continue
            seconds[name].append(_timed(call))
    return {
        name: Figure(
            tuple(np.array(seconds[name]) / np.array(seconds["plain"][: len(seconds[name])])),
            peak_megabytes(case, name) if memory else float("nan"),
            errors.get(name, float("nan")),
            seconds=tuple(seconds[name]),
        )
        if name in calls
        else Figure(why_not=why_not[name])
        for name in approaches
    }


_FAILURES = (RuntimeError, NotImplementedError, AttributeError, ValueError, IndexError, TypeError, AssertionError)


def _prepare(case: Case, approaches: Sequence[str]) -> tuple[dict[str, Callable[[], Any]], dict[str, str]]:
    """A warm call per approach, each on its own copy of the problem; the reasons of those that cannot."""
    calls: dict[str, Callable[[], Any]] = {}
    why_not: dict[str, str] = {}
    for name in dict.fromkeys(("plain", *approaches)):
        try:
            call = APPROACHES[name](case.build())
            call()
        except Unsupported as error:
            why_not[name] = str(error)
        except (ImportError, *_FAILURES) as error:
            why_not[name] = f"fails: {type(error).__name__}"
        else:
            calls[name] = call
    return calls, why_not


def _timed(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def _reference(case: Case) -> dict[str, np.ndarray]:
    problem = case.build()
    inputs = problem.inputs.double() if problem.inputs.is_floating_point() else problem.inputs
    exact = Problem(copy.deepcopy(problem.model).double(), inputs, problem.targets)
    return {name: variance.numpy() for name, (_, variance) in naive(exact)().items()}


def _error(result: Any, reference: Mapping[str, np.ndarray]) -> float:
    difference = size = 0.0
    for name, exact in reference.items():
        difference += float(np.square(np.asarray(result[name][1], dtype=np.float64) - exact).sum())
        size += float(np.square(exact).sum())
    return (difference / size) ** 0.5


def peak_megabytes(case: Case, approach: str) -> float:
    """Peak memory of three calls over what the process held after building the case, in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_peak, (case.name, approach))


def _peak(name: str, approach: str) -> float:
    torch.set_num_threads(1)
    case = next(case for case in CASES if case.name == name)
    call = APPROACHES[approach](case.build())
    before = peak_megabytes_of_this_process()
    for _ in range(3):
        call()
    return peak_megabytes_of_this_process() - before
