"""UR-Learn workbench: see what went wrong in multi-task, multi-dataset and multi-domain training runs.

    import workbench as wb

    runs = wb.open_runs(wb.sample_runs())
    wb.look(runs["digit-pairs/joint"], "conflict")

Names resolve when they are first used, so importing this package loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.checkpoint_similarity import checkpoint_cka, recorded_cka
    from workbench.core import ConfigError, Run, RunInfo, RunWriter, WorkbenchError
    from workbench.diagnostics.recorder import Recorder
    from workbench.lenses import LENSES, Reading, Verdict, look, verdicts
    from workbench.runs import open_run, open_runs, sample_runs

__version__ = "0.1.0"

_HOMES = {
    "ConfigError": "workbench.core",
    "LENSES": "workbench.lenses",
    "Reading": "workbench.lenses",
    "Recorder": "workbench.diagnostics.recorder",
    "Run": "workbench.core",
    "RunInfo": "workbench.core",
    "RunWriter": "workbench.core",
    "Verdict": "workbench.lenses",
    "WorkbenchError": "workbench.core",
    "checkpoint_cka": "workbench.checkpoint_similarity",
    "look": "workbench.lenses",
    "open_run": "workbench.runs",
    "open_runs": "workbench.runs",
    "recorded_cka": "workbench.checkpoint_similarity",
    "sample_runs": "workbench.runs",
    "verdicts": "workbench.lenses",
}

__all__ = [
    "LENSES",
    "ConfigError",
    "Reading",
    "Recorder",
    "Run",
    "RunInfo",
    "RunWriter",
    "Verdict",
    "WorkbenchError",
    "checkpoint_cka",
    "look",
    "open_run",
    "open_runs",
    "recorded_cka",
    "sample_runs",
    "verdicts",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'workbench' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
