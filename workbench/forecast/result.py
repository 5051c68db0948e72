"""The forecast as it is read from its run: pairs, groups, places, data. Nothing here trains anything or needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from workbench.core import MissingTable, Run, RunFormatError, WorkbenchError
from workbench.forecast import estimator as estimators
from workbench.forecast.estimator import Estimator, Mean, over_seeds, pairs_of
from workbench.forecast.grouping import Grouping, cheapest
from workbench.forecast.labels import relations
from workbench.forecast.measured import ARRAYS, Measured, load
from workbench.forecast.where import modules, places
from workbench.lenses.base import LEVELS, Verdict
from workbench.lenses.intervals import wilson

#: What the costs are shares of, by the kind of probe.
UNITS = {True: "of the loss at the start", False: "of a task's own progress"}
#: How a run becomes a forecast, for the page that misses one.
RECORD = "workbench diagnose my_problem.py"


@dataclass(frozen=True)
class Forecast:
    """What is to be expected of training some tasks together.

    Attributes:
        settings: Of the probe, as in ``config["forecast"]`` of the run: problem, seeds, steps, budget, ended…
        costs: [R, T, T]: what sharing with task i (second axis) costs task j (third), per seed.
        pairs: One row a pair: task_a, task_b, cost (mean of both directions and seeds; negative is a gain), low, high
            (95 % over seeds), call ("conflict", "help", "undetermined", "neither"), where (modules whose conflict is
            called, the largest share first), cost_a, cost_b (to either task), seeds_needed (to settle the call).
        together: One row a task: cost, low, high of training all tasks in one network.
        modules: See :func:`workbench.forecast.where.modules`.
        domains: Distances between domains at the start, in the network and in a frozen feature; empty without domains.
        attributes: One row a level: attribute, level, n, share, low, high; empty without attributes.
        labels: Findings from the label lists alone; see :func:`workbench.forecast.labels.relations`.
        unit: What costs are shares of.
    """

    tasks: tuple[str, ...]
    settings: Mapping[str, Any]
    measured: Measured
    costs: Float[np.ndarray, "R T T"]
    pairs: pd.DataFrame
    together: pd.DataFrame
    modules: pd.DataFrame
    domains: pd.DataFrame
    attributes: pd.DataFrame
    labels: pd.DataFrame
    unit: str

    @property
    def n_seeds(self) -> int:
        return len(self.costs)

    @property
    def called_costs(self) -> Float[np.ndarray, "T T"]:
        """Mean costs of the pairs that are called conflict or help; 0 elsewhere."""
        mean = self.costs.mean(axis=0) if self.n_seeds else np.zeros(self.costs.shape[1:])
        keep = np.zeros_like(mean, dtype=bool)
        for (i, j), call in zip(pairs_of(len(self.tasks)), self.pairs["call"], strict=True):
            keep[i, j] = keep[j, i] = call in ("conflict", "help")
        return np.where(keep, mean, 0.0)

    def grouping(self, n_networks: int | None = None) -> Grouping:
        """The cheapest partition of the tasks into at most so many networks (any number by default)."""
        return cheapest(self.called_costs, n_networks)

    @property
    def groups(self) -> list[tuple[str, ...]]:
        """Which tasks to train together, by name."""
        return [tuple(self.tasks[i] for i in group) for group in self.grouping().groups]

    def verdicts(self) -> list[Verdict]:
        """What the forecast says, worst first; never empty."""
        from workbench.forecast.verdicts import verdicts

        return sorted(verdicts(self), key=lambda verdict: LEVELS.index(verdict.level))

    def tables(self) -> dict[str, pd.DataFrame]:
        """The numbers, by title; empty ones are left out."""
        found = {
            "Pairs": self.pairs, "All together": self.together, "Modules": self.modules, "Domains": self.domains,
            "Groups of people and things": self.attributes, "Label lists": self.labels,
        }  # fmt: skip
        return {title: frame for title, frame in found.items() if len(frame)}

    def _ipython_display_(self) -> None:
        from IPython.display import Markdown, display

        from workbench.forecast.figures import costs

        display(Markdown("\n".join(f"- {verdict}" for verdict in self.verdicts())))
        display(costs(self))


def is_forecast(run: Run) -> bool:
    """Whether a run is the record of a forecast."""
    return "forecast" in run.info.config and ARRAYS in run.array_names


def read_forecast(run: Run, estimator: Estimator | None = None) -> Forecast:
    """The forecast that a run records.

    Args:
        estimator: How costs follow from the measurements; see :mod:`workbench.forecast.estimator`.

    Raises:
        MissingTable: the run is no record of a forecast. RunFormatError: it is damaged.
    """
    if not is_forecast(run):
        raise MissingTable(f"Run '{run.name}' is no forecast.", RECORD)
    settings = run.info.config["forecast"]
    measured = load(run)
    tasks = run.task_names
    if not isinstance(settings, dict) or measured.alone.shape[-1] != len(tasks):
        raise RunFormatError(f"{run.path}: the forecast does not fit the tasks of its run. Diagnose again.")
    chosen = estimator or estimators.default_estimator(measured)
    costs = chosen(measured)
    found = modules(run, int(settings.get("stride", 1))) if run.has("task_gradients") else pd.DataFrame()
    return Forecast(
        tasks=tasks,
        settings=settings,
        measured=measured,
        costs=costs,
        pairs=_pairs(tasks, costs, found),
        together=_together(tasks, measured),
        modules=found,
        domains=_domains(run),
        attributes=_attributes(run),
        labels=relations({dataset.name: dataset.labels for dataset in run.info.datasets}),
        unit=UNITS[chosen is not estimators.lookahead_cost],
    )


def _pairs(tasks: tuple[str, ...], costs: Float[np.ndarray, "R T T"], found: pd.DataFrame) -> pd.DataFrame:
    pairs = pairs_of(len(tasks))
    both = np.stack([(costs[:, i, j] + costs[:, j, i]) / 2 for i, j in pairs], axis=1)  # [R, P]
    mean: Mean = over_seeds(both)
    needed = estimators.seeds_to_settle(both) if len(costs) > 1 else np.zeros(len(pairs), dtype=int)
    said = estimators.calls(both)
    rows = []
    for p, (i, j) in enumerate(pairs):
        there = places(found, tasks[i], tasks[j])["module"].tolist() if len(found) else []
        to_a, to_b = (costs[:, j, i].mean(), costs[:, i, j].mean()) if len(costs) else (np.nan, np.nan)
        rows.append(
            (tasks[i], tasks[j], float(mean.value[p]), float(mean.low[p]), float(mean.high[p]), said[p],
             ", ".join(there), float(to_a), float(to_b), int(needed[p]))
        )  # fmt: skip
    names = ["task_a", "task_b", "cost", "low", "high", "call", "where", "cost_a", "cost_b", "seeds_needed"]
    return pd.DataFrame(rows, columns=names)


def _together(tasks: tuple[str, ...], measured: Measured) -> pd.DataFrame:
    mean = over_seeds(estimators.together_cost(measured))
    return pd.DataFrame({"task": list(tasks), "cost": mean.value, "low": mean.low, "high": mean.high})


def _domains(run: Run) -> pd.DataFrame:
    """Proxy A-distance and MMD² of every pair of domains before training, by layer; empty without two domains."""
    if not (run.has("embeddings") and run.has("samples")) or len(run.domain_names) < 2:
        return pd.DataFrame()
    from workbench.lenses.domains.measure import REFERENCE
    from workbench.lenses.domains.statistics import statistics

    try:
        found = statistics(run, by="domain", permutations=199, max_points=600).comparisons
    except WorkbenchError:
        return pd.DataFrame()
    pairs = found[(found["domain_b"] != REFERENCE) & found["measure"].isin(["pad", "mmd2"])]
    return pairs[["layer", "step", "domain_a", "domain_b", "measure", "value", "low", "high", "p_adjusted", "n"]]


def _attributes(run: Run) -> pd.DataFrame:
    """Counts of every level of every attribute among the samples looked at, with Wilson intervals of the shares."""
    frames = []
    for name in run.attribute_names if run.has("samples") else ():
        quoted = '"' + name.replace('"', '""') + '"'
        frame = run.query(f"SELECT {quoted}::VARCHAR AS level, count(*) AS n FROM samples GROUP BY ALL ORDER BY n")
        total = float(frame["n"].sum())
        low, high = wilson(frame["n"].to_numpy(dtype=float), np.full(len(frame), total))
        frames.append(frame.assign(attribute=name, share=frame["n"] / total, low=low, high=high))
    if not frames:
        return pd.DataFrame()
    return pd.concat(frames, ignore_index=True)[["attribute", "level", "n", "share", "low", "high"]]
