"""Which model would have been chosen, and how good is it on the domain it never saw? Three rules over a sweep.

A sweep trains one model per (trial, algorithm, test environments, hyper-parameters) and logs, at several steps, the
accuracy on two splits of every environment: ``in`` (the larger one) and ``out`` (held back for validation). The test
accuracy of environment t is always that on its ``in`` split by a model that was not trained on t.

- ``training-domain``: validate on the ``out`` splits of the training environments, mean over i != t; choose step, then
  run.
- ``leave-one-out``: validate environment j by the model that was trained without t and j, on the ``in`` split of j,
  mean over j != t (all must have been trained); choose step, then run.
- ``oracle``: validate on the ``out`` split of t itself at the last step (no early stopping); choose the run.

Source: Gulrajani and Lopez-Paz 2021, In Search of Lost Domain Generalization, arXiv:2007.01434, section 3. Numbers in
the tables are 100 x the mean over trials, with 100 x the population standard deviation over sqrt(number of trials).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

Record = Mapping[str, Any]
_IN_SPLIT = re.compile(r"env(\d+)_in_acc$")
#: ``environment`` of the rows that average over environments.
AVERAGE = "Avg"


@dataclass(frozen=True)
class Choice:
    """One checkpoint: where validation and test accuracy (shares in [0, 1]) were read."""

    hparams_seed: int
    step: int
    validation: float
    test: float


def chosen_models(records: Iterable[Record]) -> pd.DataFrame:
    """The model every rule picks for every (dataset, algorithm, test environment, trial).

    Args:
        records: Lines of ``results.jsonl`` files, in any order.

    Returns:
        rule, dataset, algorithm, environment (index), trial_seed, hparams_seed, step, validation, test. A group in
        which a rule has nothing to choose from has no row.
    """
    rows = []
    for (trial, dataset, algorithm, environment), group in sorted(_groups(records).items()):
        for rule, choices in RULES.items():
            best = _best(choices(run, environment) for run in _runs(group))
            if best is not None:
                where = (rule, dataset, algorithm, environment, trial)
                rows.append((*where, best.hparams_seed, best.step, best.validation, best.test))
    names = ["rule", "dataset", "algorithm", "environment", "trial_seed", "hparams_seed", "step", "validation", "test"]
    return pd.DataFrame(rows, columns=names)


def selection_table(
    records: Iterable[Record], environment_names: Mapping[str, tuple[str, ...]] | None = None
) -> pd.DataFrame:
    """The published form of a sweep's result: mean test accuracy in percent per rule, algorithm and environment.

    Args:
        environment_names: Names of the environments per dataset; ``env0``, ``env1``… without.

    Returns:
        rule, dataset, algorithm, environment (a name or ``AVERAGE``), accuracy, error (percent), trials. The average
        row takes the mean over environments in every trial first, over the trials that have all environments.
    """
    chosen = chosen_models(records)
    rows = []
    for (rule, dataset, algorithm), group in chosen.groupby(["rule", "dataset", "algorithm"], sort=False):
        names = (environment_names or {}).get(str(dataset), ())
        grid = group.pivot(index="trial_seed", columns="environment", values="test")
        for column in grid.columns:
            environment = int(column)
            name = names[environment] if environment < len(names) else f"env{environment}"
            rows.append((rule, dataset, algorithm, name, *_summary(grid[column].dropna().to_numpy())))
        rows.append((rule, dataset, algorithm, AVERAGE, *_summary(grid.dropna().mean(axis=1).to_numpy())))
    frame = pd.DataFrame(rows, columns=["rule", "dataset", "algorithm", "environment", "accuracy", "error", "trials"])
    order = {rule: i for i, rule in enumerate(RULES)}
    return frame.sort_values("rule", key=lambda rule: rule.map(order), kind="stable", ignore_index=True)


def _summary(accuracies: np.ndarray) -> tuple[float, float, int]:
    n = len(accuracies)
    if n == 0:
        return np.nan, np.nan, 0
    return 100 * float(np.mean(accuracies)), 100 * float(np.std(accuracies)) / float(np.sqrt(n)), n


def _groups(records: Iterable[Record]) -> dict[tuple[int, str, str, int], list[Record]]:
    """Records by (trial seed, dataset, algorithm, test environment); two test environments put one into two groups."""
    groups = defaultdict(list)
    for record in records:
        args = record["args"]
        for environment in args["test_envs"]:
            key = (int(args["trial_seed"]), str(args["dataset"]), str(args["algorithm"]), int(environment))
            groups[key].append(record)
    return groups


def _runs(group: list[Record]) -> Iterator[list[Record]]:
    """The records of a group by hyper-parameter seed, earliest step first."""
    runs = defaultdict(list)
    for record in group:
        runs[int(record["args"]["hparams_seed"])].append(record)
    for seed in sorted(runs):
        yield sorted(runs[seed], key=lambda record: record["step"])


def _best(choices: Iterable[Choice | None]) -> Choice | None:
    """The choice with the highest validation accuracy; the last one among equals, as in the published tables."""
    best = None
    for choice in choices:
        if choice is not None and (best is None or choice.validation >= best.validation):
            best = choice
    return best


def _earliest_best(choices: Iterable[Choice]) -> Choice | None:
    """Within a run the earliest step wins among equals."""
    return max(choices, key=lambda choice: choice.validation, default=None)


def _environments(record: Record) -> list[int]:
    return sorted(int(match[1]) for key in record if (match := _IN_SPLIT.match(key)))


def _alone(run: list[Record]) -> list[Record]:
    return [record for record in run if len(record["args"]["test_envs"]) == 1]


def _choice(record: Record, validation: float, environment: int) -> Choice:
    return Choice(
        int(record["args"]["hparams_seed"]), int(record["step"]), validation, float(record[f"env{environment}_in_acc"])
    )


def _training_domain(run: list[Record], environment: int) -> Choice | None:
    choices = []
    for record in _alone(run):
        others = [record[f"env{i}_out_acc"] for i in _environments(record) if i != environment]
        choices.append(_choice(record, float(np.mean(others)), environment))
    return _earliest_best(choices)


def _leave_one_out(run: list[Record], environment: int) -> Choice | None:
    choices = []
    for step in sorted({record["step"] for record in run}):
        at = [record for record in run if record["step"] == step]
        alone = _alone(at)
        if not alone:
            continue
        left_out: dict[int, float] = {}
        for record in at:
            others = [i for i in record["args"]["test_envs"] if i != environment]
            if len(others) == 1:
                left_out[others[0]] = record[f"env{others[0]}_in_acc"]
        if set(left_out) >= set(_environments(alone[0])) - {environment}:
            choices.append(_choice(alone[0], float(np.mean(list(left_out.values()))), environment))
    return _earliest_best(choices)


def _oracle(run: list[Record], environment: int) -> Choice | None:
    alone = _alone(run)
    return _choice(alone[-1], float(alone[-1][f"env{environment}_out_acc"]), environment) if alone else None


#: The rules by name: what each chooses within one run (all records of one hyper-parameter seed of a group).
RULES: Mapping[str, Callable[[list[Record], int], Choice | None]] = {
    "training-domain": _training_domain,
    "leave-one-out": _leave_one_out,
    "oracle": _oracle,
}
