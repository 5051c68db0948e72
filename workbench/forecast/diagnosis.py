"""Run a forecast: cost first, then the probe, then what it says; all of it in one run folder."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from workbench.core import ConfigError, Run
from workbench.diagnostics.recorder import Recorder
from workbench.forecast import data
from workbench.forecast.cost import Cost, estimate
from workbench.forecast.estimator import Estimator
from workbench.forecast.measured import save
from workbench.forecast.plan import MAX_STEPS
from workbench.forecast.probe import Progress, run_probe, stride_of
from workbench.forecast.problem import Problem
from workbench.forecast.result import Forecast, read_forecast

QUESTION = "Which of these tasks will fight when they are trained together?"


def forecast(
    problem: Problem,
    *,
    budget: float = 120.0,
    seeds: int = 4,
    max_steps: int = MAX_STEPS,
    interval: float = 0.1,
    folder: str | Path | None = None,
    estimator: Estimator | None = None,
    look_at_data: bool = True,
    cost: Cost | None = None,
    on_cost: Callable[[Cost], None] = lambda cost: None,
    progress: Progress = lambda done, total: None,
    stop: Callable[[], bool] = lambda: False,
    overwrite: bool = False,
) -> Forecast:
    """Probe a training before it starts: which tasks will fight, where, how surely, and what to do about it.

    Args:
        budget: Seconds of the probe, about; a fifth of it is kept in reserve.
        seeds: Starts; the intervals are over them. At least 2.
        max_steps: Longest trajectory. The nearer to the planned training, the truer the forecast.
        interval: Half-width wished for the 95 % interval of a gradient cosine pooled over the probe.
        folder: Where the run is written; None keeps the result in memory only.
        estimator: How costs follow from the measurements; see :mod:`workbench.forecast.estimator`.
        look_at_data: Also domains, attributes and label lists.
        cost: From :func:`workbench.forecast.estimate`, to not measure again; then budget and seeds are its own.
        on_cost: Called with the estimated cost before the probe starts.
        progress: Called with the optimizer steps done, and planned. stop: asked after every step.
        overwrite: Replace a run that is already in ``folder``.

    Raises:
        ConfigError: the problem is not as the protocol says, or it was stopped before one seed was whole.
    """
    cost = cost or estimate(problem, budget=budget, seeds=seeds, max_steps=max_steps, interval=interval)
    on_cost(cost)
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="workbench-forecast-") as place:
            return _into(Path(place) / "run", problem, cost, budget, estimator, look_at_data, progress, stop, overwrite)
    return _into(Path(folder), problem, cost, budget, estimator, look_at_data, progress, stop, overwrite)


def _into(
    folder: Path,
    problem: Problem,
    cost: Cost,
    budget: float,
    estimator: Estimator | None,
    look_at_data: bool,
    progress: Progress,
    stop: Callable[[], bool],
    overwrite: bool,
) -> Forecast:
    plan, begun = cost.plan, time.monotonic()
    model = problem.model(plan.seeds[0])
    recorder = Recorder(
        folder,
        name=f"Before training: {problem.name}",
        tasks=plan.tasks,
        datasets=[{"name": name, "labels": list(labels)} for name, labels in problem.labels.items()],
        modules=[
            {"name": name, "parameters": sum(p.numel() for p in own)} for name, own in problem.parts(model).items()
        ],
        question=QUESTION,
        method="forecast",
        seed=plan.seeds[0],
        config={"forecast": _settings(problem, cost, budget)},
        overwrite=overwrite,
    )
    with recorder:
        if look_at_data:
            _look(recorder, problem, model)
        measured, ended = run_probe(problem, plan, recorder, budget, progress, stop)
        save(recorder, measured)
        done = {"seconds": time.monotonic() - begun, "ended": ended, "seeds_done": measured.n_seeds}
        recorder.update(config={"forecast": {**recorder.info.config["forecast"], **done}})
        if ended:
            recorder.update(notes=(*recorder.info.notes, f"The probe ended early: {ended}."))
        if measured.n_seeds == 0:
            raise ConfigError(f"There is no forecast: {ended} before the first seed was whole. Give a larger budget.")
    return read_forecast(Run(folder), estimator)


def _settings(problem: Problem, cost: Cost, budget: float) -> dict[str, object]:
    plan = cost.plan
    return {
        "problem": problem.name,
        "source": problem.source.name if problem.source else "",  # no folders: runs are passed on
        "seeds": list(plan.seeds),
        "steps": plan.steps,
        "paired": plan.paired,
        "batches": plan.batches,
        "n_batches": plan.n_batches,
        "stride": stride_of(plan),
        "budget": budget,
        "planned_seconds": cost.seconds,
        "step_seconds": cost.step,
        "memory": cost.memory,
        "batch_samples": cost.samples,
        "half_width": cost.half_width,
        "parameters": cost.parameters,
        "shared": cost.shared,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
    }


def _look(recorder: Recorder, problem: Problem, model: nn.Module) -> None:
    """Record what the data say, with a note for what could not be looked at."""
    sampled = data.sample(problem, seed=0)
    names = tuple(dict.fromkeys(sampled.domain))
    recorder.update(domains=names, attributes=tuple(sampled.attributes))
    data.describe(recorder, sampled)
    notes = [
        data.record_features(recorder, problem, sampled),
        data.record_embeddings(recorder, problem, model, sampled),
    ]
    recorder.update(notes=(*recorder.info.notes, *(note for note in notes if note)))
