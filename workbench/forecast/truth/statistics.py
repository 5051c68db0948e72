"""How well do forecasts order the problems, and how often are their calls right?

All functions read the table of :func:`workbench.forecast.truth.table.problems`; what a bootstrap draws again are
problems.
Sources: Spearman 1904 (rank correlation); Efron 1979 (percentile bootstrap); Wilson 1927 (interval of a share).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd
from jaxtyping import Float

from workbench.core import ConfigError
from workbench.lenses.intervals import wilson

#: Column -> what forecasts with it, in words.
FORECASTERS: Mapping[str, str] = MappingProxyType(
    {
        "forecast": "this forecast, before training",
        "affinity": "TAG, after the joint training",
        "cosine": "plug-in cosine at initialisation",
    }
)
#: Draws of a bootstrap.
DRAWS = 4000


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation over ``n`` problems with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})".replace("-", "−")


def ranks(values: Float[np.ndarray, "... N"]) -> Float[np.ndarray, "... N"]:
    """Ranks from 1 along the last axis; equal values share the mean of their ranks."""
    from scipy.stats import rankdata

    found: Float[np.ndarray, "... N"] = rankdata(values, axis=-1)
    return found


def spearman(x: Float[np.ndarray, "... N"], y: Float[np.ndarray, "... N"]) -> Float[np.ndarray, "..."]:
    """Pearson's correlation of the ranks along the last axis; NaN where one side is constant or N < 3."""
    if x.shape[-1] < 3:
        return np.full(x.shape[:-1], np.nan)
    a, b = (r - r.mean(axis=-1, keepdims=True) for r in (ranks(x), ranks(y)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((a * b).sum(axis=-1) / np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1)))


def correlate(x: Float[np.ndarray, " N"], y: Float[np.ndarray, " N"], draws: int = DRAWS, seed: int = 0) -> Correlation:
    """Over the problems on which both are known; interval by drawing problems with replacement."""
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    index = _draws(len(x), draws, seed)
    low, high = _limits(spearman(x[index], y[index]))
    return Correlation(float(spearman(x, y)), low, high, len(x))


def advantage(
    first: Float[np.ndarray, " N"],
    second: Float[np.ndarray, " N"],
    truth: Float[np.ndarray, " N"],
    draws: int = DRAWS,
    seed: int = 0,
) -> Correlation:
    """By how much the first forecaster's correlation with the truth exceeds the second's, on the same problems."""
    known = np.isfinite(first) & np.isfinite(second) & np.isfinite(truth)
    first, second, truth = first[known], second[known], truth[known]
    index = _draws(len(truth), draws, seed)
    low, high = _limits(spearman(first[index], truth[index]) - spearman(second[index], truth[index]))
    value = float(spearman(first, truth) - spearman(second, truth))
    return Correlation(value, low, high, len(truth))


def correlations(table: pd.DataFrame, truth: str = "cost") -> pd.DataFrame:
    """Every forecaster against the realised cost, on pairs and on larger sets: forecaster, on, value, low, high, n.

    "the training itself, once" is no forecaster but what remains to be reached: the cost in one seed against the mean
    of the other seeds.
    """
    rows = []
    for on, part in parts(table).items():
        columns = [(name, part[column], part[truth]) for column, name in FORECASTERS.items()]
        columns.append(("the training itself, once", part["once"], part["others"]))
        for name, x, y in columns:
            found = correlate(x.to_numpy(dtype=float), y.to_numpy(dtype=float))
            rows.append((name, on, found.value, found.low, found.high, found.n))
    return pd.DataFrame(rows, columns=["forecaster", "on", "value", "low", "high", "n"])


def by_length(lengths: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """The forecast's correlation with the cost of pairs had its probe ended earlier: steps, value, low, high, n."""
    joined = lengths.merge(table[["problem", "cost"]], on="problem")
    joined = joined[joined["n_tasks"] == 2]
    rows = []
    for steps, part in joined.groupby("steps"):
        found = correlate(part["forecast"].to_numpy(dtype=float), part["cost"].to_numpy(dtype=float))
        rows.append((steps, found.value, found.low, found.high, found.n))
    return pd.DataFrame(rows, columns=["steps", "value", "low", "high", "n"])


def calls(table: pd.DataFrame) -> pd.DataFrame:
    """What became of each call: call, n, cost (mean, in points), lost, surely_lost, surely_gained, share, low, high.

    ``lost``: problems whose mean cost is above 0, with the Wilson interval of their share. ``surely``: the whole 95 %
    interval of the cost lies on that side.
    """
    rows = []
    for call in ("conflict", "undetermined", "neither", "help"):
        part = table[table["call"] == call]
        surely = int((part["cost_low"] > 0).sum()), int((part["cost_high"] < 0).sum())
        rows.append((call, len(part), part["cost"].mean(), int((part["cost"] > 0).sum()), *surely))
    frame = pd.DataFrame(rows, columns=["call", "n", "cost", "lost", "surely_lost", "surely_gained"])
    return _with_share(frame)


def reliability(table: pd.DataFrame, n_bins: int = 5) -> pd.DataFrame:
    """Problems in equal bins of the forecast: forecast and cost (means), n, lost, and their share: share, low, high.

    Raises:
        ConfigError: fewer problems than bins.
    """
    if len(table) < n_bins:
        raise ConfigError(f"{len(table)} problems cannot fill {n_bins} bins. Ask for fewer bins.")
    rows = []
    for index in np.array_split(np.argsort(table["forecast"].to_numpy(), kind="stable"), n_bins):
        part = table.iloc[index]
        rows.append((part["forecast"].mean(), part["cost"].mean(), len(part), int((part["cost"] > 0).sum())))
    return _with_share(pd.DataFrame(rows, columns=["forecast", "cost", "n", "lost"]))


def misses(table: pd.DataFrame) -> pd.DataFrame:
    """Calls that the trainings contradict, the dearest first: kind, problem, forecast, call, cost and its interval.

    false alarm: conflict was called, and the mean cost is not above 0. missed: the cost is surely above 0, and conflict
    was not called. wrong help: help was called, and the mean cost is above 0.
    """
    kinds = {
        "false alarm": (table["call"] == "conflict") & (table["cost"] <= 0),
        "missed": (table["call"] != "conflict") & (table["cost_low"] > 0),
        "wrong help": (table["call"] == "help") & (table["cost"] > 0) & ~(table["cost_low"] > 0),
    }
    found = pd.concat([table[chosen].assign(kind=kind) for kind, chosen in kinds.items()])
    order = np.argsort(-found["cost"].abs().to_numpy(), kind="stable")
    return found.iloc[order][["kind", "problem", "forecast", "call", "cost", "cost_low", "cost_high"]].reset_index(
        drop=True
    )


def parts(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The pairs, the larger sets, and all of them."""
    pair = table["n_tasks"] == 2
    return {"pairs": table[pair], "sets": table[~pair], "all": table}


def _with_share(frame: pd.DataFrame) -> pd.DataFrame:
    """The share of problems that lost, with its Wilson interval; NaN where there are none."""
    lost, n = (frame[name].to_numpy(dtype=float) for name in ("lost", "n"))
    low, high = wilson(lost, n)
    return frame.assign(share=lost / np.where(n > 0, n, np.nan), low=low, high=high)


def _draws(n: int, draws: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, max(n, 1), size=(draws, n))


def _limits(values: Float[np.ndarray, " draws"]) -> tuple[float, float]:
    """95 % percentile limits; draws in which one side is constant are left out."""
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return np.nan, np.nan
    low, high = np.percentile(known, (2.5, 97.5))
    return float(low), float(high)
