"""Before training: describe a training in a small file, probe it for two minutes, and see which tasks will fight.

    from workbench.forecast import forecast, load_problem

    problem = load_problem("my_training.py")        # or Problem(tasks=..., build_model=..., ...)
    found = forecast(problem, budget=120, folder="runs/forecast")
    found.pairs                                     # predicted cost of sharing of every pair, with intervals
    found.groups                                    # which tasks to train together
    found.verdicts()

Names resolve when they are first used: reading a recorded forecast loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.forecast.cost import Cost, estimate
    from workbench.forecast.diagnosis import forecast
    from workbench.forecast.loading import load_model, load_problem
    from workbench.forecast.problem import Problem
    from workbench.forecast.result import Forecast, is_forecast, read_forecast

_HOMES = {
    "Cost": "cost",
    "Forecast": "result",
    "Problem": "problem",
    "estimate": "cost",
    "forecast": "diagnosis",
    "is_forecast": "result",
    "load_model": "loading",
    "load_problem": "loading",
    "read_forecast": "result",
}

__all__ = [
    "Cost",
    "Forecast",
    "Problem",
    "estimate",
    "forecast",
    "is_forecast",
    "load_model",
    "load_problem",
    "read_forecast",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'workbench.forecast' has no attribute '{name}'")
    return getattr(import_module(f"workbench.forecast.{_HOMES[name]}"), name)
