"""Forecasts and realised costs side by side: one row a problem, and one a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench.forecast.estimator import over_seeds

#: Where the published tables lie.
RESULTS = Path(__file__).parent / "results"


def problems(truths: Sequence[Mapping[str, Any]], predictions: Sequence[Mapping[str, Any]], half: str) -> pd.DataFrame:
    """One row a problem.

    Args:
        truths: As :func:`workbench.demos.sharing.truth.work` returns them.
        predictions: As :func:`workbench.forecast.truth.prediction.predict` returns them, in the same order.

    Returns:
        half, family, problem, n_tasks; cost, cost_low, cost_high: points of the score lost by sharing, mean over tasks,
        95 % over seeds; loss_cost: mean over tasks of the logarithm of (loss together / loss alone); once: the cost in
        the first seed, others: in the mean of the others; forecast, forecast_low, forecast_high (share of the loss at
        the start), call; cosine, affinity: what the plug-in cosine at initialisation and TAG would forecast (their
        negative means over pairs of tasks); steps: of the probe; seconds: that it took.
    """
    rows = []
    for truth, found in _matched(truths, predictions):
        cost = 100 * (np.array(truth["score_alone"]) - np.array(truth["score_together"]))  # [T, R]
        by_seed = cost.mean(axis=0)
        mean = over_seeds(by_seed[:, None])
        loss = [np.array(truth[key]).mean(axis=1) for key in ("loss_together", "loss_alone")]
        rows.append(
            {
                "half": half,
                "family": truth["family"],
                "problem": truth["problem"],
                "n_tasks": len(truth["tasks"]),
                "cost": float(mean.value[0]),
                "cost_low": float(mean.low[0]),
                "cost_high": float(mean.high[0]),
                "loss_cost": float(np.log(loss[0] / loss[1]).mean()),
                "once": by_seed[0],
                "others": by_seed[1:].mean(),
                "forecast": found["cost"],
                "forecast_low": found["low"],
                "forecast_high": found["high"],
                "call": found["call"],
                "cosine": -_off_diagonal(truth["cosine"]),
                "affinity": -_off_diagonal(truth["affinity"]),
                "steps": found["steps"],
                "seconds": found["seconds"],
            }
        )
    return pd.DataFrame(rows)


def tasks(truths: Sequence[Mapping[str, Any]], predictions: Sequence[Mapping[str, Any]], half: str) -> pd.DataFrame:
    """One row a task of a problem: scores alone and together (in points), cost and forecast with their intervals."""
    rows = []
    for truth, found in _matched(truths, predictions):
        alone, together = (100 * np.array(truth[key]) for key in ("score_alone", "score_together"))  # [T, R]
        cost = over_seeds((alone - together).T)
        for i, task in enumerate(truth["tasks"]):
            rows.append(
                {
                    "half": half,
                    "problem": truth["problem"],
                    "task": task,
                    "alone": alone[i].mean(),
                    "together": together[i].mean(),
                    "cost": cost.value[i],
                    "cost_low": cost.low[i],
                    "cost_high": cost.high[i],
                    "forecast": found["task_cost"][i],
                    "forecast_low": found["task_low"][i],
                    "forecast_high": found["task_high"][i],
                }
            )
    return pd.DataFrame(rows)


def lengths(truths: Sequence[Mapping[str, Any]], predictions: Sequence[Mapping[str, Any]], half: str) -> pd.DataFrame:
    """One row a problem and length of the probe: what the forecast would have been after so many steps."""
    rows = [
        {"half": half, "problem": truth["problem"], "n_tasks": len(truth["tasks"]), "steps": steps, "forecast": cost}
        for truth, found in _matched(truths, predictions)
        for steps, cost in found["by_steps"]
    ]
    return pd.DataFrame(rows)


def published(name: str = "problems") -> pd.DataFrame:
    """A committed table: problems, tasks or lengths, both halves."""
    return pd.read_csv(RESULTS / f"{name}.csv")


def publish(tables: Mapping[str, pd.DataFrame], folder: Path) -> None:
    """Write tables as :func:`published` reads them, four significant digits."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in tables.items():
        frame.to_csv(folder / f"{name}.csv", index=False, float_format="%.4g")


def _matched(
    truths: Sequence[Mapping[str, Any]], predictions: Sequence[Mapping[str, Any]]
) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    by_name = {found["problem"]: found for found in predictions}
    return [(truth, by_name[truth["problem"]]) for truth in truths if truth["problem"] in by_name]


def _off_diagonal(matrix: Sequence[Sequence[float]]) -> float:
    values = np.array(matrix)
    return float(values[~np.eye(len(values), dtype=bool)].mean())
