"""workbench bench forecast: forecast problems, really train them, and compare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from workbench.demos.sharing.problem import Sharing

#: Of ``--quick``: steps of a training, of a probe, and seeds. Nothing can be learnt from it but that it runs.
QUICK_STEPS, QUICK_PROBE, QUICK_SEEDS = 30, 10, 2


def run(
    folder: Path,
    *,
    quick: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, pd.DataFrame]:
    """Tables problems, tasks and lengths of both halves, also written into ``folder`` as CSV.

    The trainings and forecasts of every problem are kept in ``folder`` and not repeated.
    """
    import pandas as pd

    from workbench.demos.sharing import runner, truth
    from workbench.demos.sharing.catalogue import REPORTED, TUNING
    from workbench.forecast.truth import prediction, table

    halves = {"tuning": (), "reported": _shortened(REPORTED)} if quick else {"tuning": TUNING, "reported": REPORTED}
    trained: dict[str, Any] = {"seeds": truth.SEEDS[:QUICK_SEEDS]} if quick else {}
    probed: dict[str, Any] = {"steps": QUICK_PROBE, "seeds": QUICK_SEEDS} if quick else {}
    every = [problem for half in halves.values() for problem in half]
    work = [runner.Item(truth.work, problem, trained, folder / "trainings") for problem in every]
    work += [runner.Item(prediction.predict, problem, probed, folder / "forecasts") for problem in every]
    done = runner.run(work, progress, stop)
    truths = {found["problem"]: found for found in done if "score_alone" in found}
    predictions = [found for found in done if "call" in found]
    makers = {"problems": table.problems, "tasks": table.tasks, "lengths": table.lengths}
    tables = {}
    for name, make in makers.items():
        parts = [
            make([truths[p.name] for p in half if p.name in truths], predictions, name_of_half)
            for name_of_half, half in halves.items()
        ]
        tables[name] = pd.concat(parts, ignore_index=True)
    table.publish(tables, folder)
    return tables


def markdown(tables: dict[str, pd.DataFrame]) -> str:
    """What the reported half says."""
    from workbench.forecast.truth import words

    reported = {name: frame[frame["half"] == "reported"] for name, frame in tables.items()}
    return words.markdown(reported["problems"], reported["lengths"])


def _shortened(problems: tuple[Sharing, ...]) -> tuple[Sharing, ...]:
    """Four pairs and a set, trained for a few steps."""
    pairs = [problem for problem in problems if len(problem.tasks) == 2][::12]
    sets = [problem for problem in problems if len(problem.tasks) > 2][:1]
    return tuple(replace(problem, steps=QUICK_STEPS) for problem in (*pairs, *sets))
