"""How long do all groups, pairs and triples take, beside one computation a grouping with pandas and fairlearn?

CPU time of this process, all threads together. The lens starts from the Parquet parts of a run and ends with all its
tables but the details by class: intervals, tests, simulations, subgroups, attribution. The count cube starts, like the
peers, from columns in memory and ends with accuracy and intervals of all groups, pairs and triples. The peers compute
accuracy, true and false positive rate of every factor and pair, without intervals and without triples.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from workbench.core import Run, RunWriter
from workbench.lenses.bias.cube import Factor
from workbench.lenses.bias.groups import cube_of
from workbench.lenses.bias.sample_metrics import ACCURACY
from workbench.lenses.bias.statistics import statistics
from workbench.lenses.bias.uncertainty import mean_interval

#: Factors with their numbers of levels.
FACTORS = {"colour": 3, "blur": 4, "rotation": 2, "stroke": 5}
OURS = "bias lens, from Parquet to all its tables"
CUBE = "count cube from columns to groups, pairs and triples with intervals"
#: fairlearn is measured up to this many predictions.
FAIRLEARN_ROWS = 100_000


def run(sizes: Sequence[int] = (100_000, 1_000_000), rounds: int = 5) -> dict[tuple[int, str], tuple[float, ...]]:
    """CPU seconds of every approach in every round, by number of predictions and name.

    In every round all approaches work on the same data one after the other; fairlearn joins in the first two rounds.
    """
    seconds: dict[tuple[int, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for n in sizes:
            frame = draw(n)
            recorded = write(Path(folder) / str(n), frame)
            calls = _approaches(recorded, frame)
            for number in range(rounds):
                for name, call in calls.items():
                    if name.startswith("fairlearn") and number >= 2:
                        continue
                    begin = time.process_time()
                    call()
                    seconds.setdefault((n, name), []).append(time.process_time() - begin)
    return {key: tuple(values) for key, values in seconds.items()}


def markdown(seconds: Mapping[tuple[int, str], tuple[float, ...]]) -> str:
    """The measured times as a Markdown table of ratios of medians to the lens's."""
    lines = ["| groups of 4 factors | predictions | CPU time / the lens's (its range over rounds) |", "|---|---|---|"]
    for (n, name), values in seconds.items():
        base = float(np.median(seconds[n, OURS]))
        ratio = np.array(values) / base
        lines.append(f"| {name} | {n:,} | {np.median(ratio):.2f} ({ratio.min():.2f}–{ratio.max():.2f}) |")
    return "\n".join(lines) + "\n"


def draw(n: int) -> pd.DataFrame:
    """Predictions of a task of two classes with four factors, right in 80 % of cases."""
    rng = np.random.default_rng(0)
    target = rng.integers(0, 2, n)
    columns = {name: rng.integers(0, levels, n) for name, levels in FACTORS.items()}
    prediction = np.where(rng.random(n) < 0.8, target, 1 - target)
    return pd.DataFrame(columns | {"target": target, "prediction": prediction})


def write(path: Path, frame: pd.DataFrame) -> Run:
    """The same as a recorded run."""
    ids = np.arange(len(frame))
    with RunWriter(path, tasks=["answer"], attributes=list(FACTORS)) as writer:
        writer.samples({"sample": ids, "target_answer": frame["target"]} | {name: frame[name] for name in FACTORS})
        writer.predictions(1, "answer", sample=ids, prediction=frame["prediction"])
    return Run(path)


def groupings() -> list[list[str]]:
    """Every factor and every pair."""
    return [[name] for name in FACTORS] + [list(pair) for pair in combinations(FACTORS, 2)]


def _approaches(recorded: Run, frame: pd.DataFrame) -> dict[str, Callable[[], object]]:
    calls: dict[str, Callable[[], object]] = {
        OURS: lambda: statistics(recorded, details=False),
        CUBE: lambda: _with_cube(frame),
        "pandas, one group-by a grouping": lambda: [_with_pandas(frame, names) for names in groupings()],
    }
    if len(frame) <= FAIRLEARN_ROWS:
        try:
            import fairlearn.metrics  # noqa: F401
        except ImportError:
            return calls
        calls["fairlearn's MetricFrame, one a grouping"] = lambda: [
            _with_fairlearn(frame, names) for names in groupings()
        ]
    return calls


def _with_cube(frame: pd.DataFrame) -> dict[tuple[int, ...], tuple[np.ndarray, ...]]:
    factors = [Factor(name, name, tuple(map(str, range(levels)))) for name, levels in FACTORS.items()]
    right = (frame["target"] == frame["prediction"]).to_numpy(dtype=float)
    cube = cube_of(factors, np.stack([frame[name].to_numpy() for name in FACTORS], axis=1), right)
    found: dict[tuple[int, ...], tuple[np.ndarray, ...]] = {}
    for order in (1, 2, 3):
        for axes in combinations(range(len(factors)), order):
            margin = cube.margin(axes)
            found[axes] = (margin.codes, *mean_interval(margin.n, margin.total, margin.squares, ACCURACY))
    return found


def _with_pandas(frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    right = frame["target"] == frame["prediction"]
    positive, said = frame["target"] == 1, frame["prediction"] == 1
    counts = frame[names].assign(n=1, right=right, positive=positive, tp=positive & said, fp=~positive & said)
    sums = counts.groupby(names).sum()
    negative = sums["n"] - sums["positive"]
    return sums.assign(accuracy=sums["right"] / sums["n"], tpr=sums["tp"] / sums["positive"], fpr=sums["fp"] / negative)


def _with_fairlearn(frame: pd.DataFrame, names: list[str]) -> object:
    from fairlearn.metrics import MetricFrame, false_positive_rate, true_positive_rate
    from sklearn.metrics import accuracy_score

    return MetricFrame(
        metrics={"accuracy": accuracy_score, "tpr": true_positive_rate, "fpr": false_positive_rate},
        y_true=frame["target"],
        y_pred=frame["prediction"],
        sensitive_features=frame[names],
    ).by_group
