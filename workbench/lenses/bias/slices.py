"""Find the worst describable subgroups on one half of the samples and confirm them on the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from workbench.lenses.bias.cube import Cube
from workbench.lenses.bias.groups import group_table
from workbench.lenses.bias.sample_metrics import Metric
from workbench.lenses.bias.uncertainty import fisher_exact, variance, welch_p
from workbench.lenses.intervals import benjamini_hochberg

#: A slice needs so many samples in each half.
MIN_HALF = 15
#: At most so many candidates go to the second half.
MAX_CANDIDATES = 20
#: A candidate's p-value on the first half, and a deeper slice's against the slice that it lies in, stay below this.
SEARCH_P = 0.05


@dataclass(frozen=True)
class Slices:
    """Subgroups found on one half of the samples (a hash of the sample's number decides) and confirmed on the other.

    Attributes:
        found: One row a candidate, the most harmed first: the group, its value on both halves (``found_value``;
            ``value`` with limits, gap, p and q on the confirming half), effect size, SliceLine score, ``confirmed``.
        searched: Slices that were looked at.
    """

    found: pd.DataFrame
    searched: int


def effect_size(
    mean: Float[np.ndarray, " G"],
    rest: Float[np.ndarray, " G"],
    var: Float[np.ndarray, " G"],
    var_rest: Float[np.ndarray, " G"],
) -> Float[np.ndarray, " G"]:
    """√2 (mean − rest) / √(σ² + σ_rest²) of the error; 0.2 small, 0.5 medium, 0.8 large (SliceFinder, Chung 2019)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.sqrt(2) * (mean - rest) / np.sqrt(var + var_rest))


def sliceline_score(
    error: Float[np.ndarray, " G"], overall: float, size: Float[np.ndarray, " G"], n: float, alpha: float = 0.95
) -> Float[np.ndarray, " G"]:
    """α (error / overall − 1) − (1 − α) (n / size − 1) (SliceLine, Sagadeeva and Boehm 2021)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(alpha * (error / overall - 1) - (1 - alpha) * (n / size - 1))


def find_slices(search: Cube, confirm: Cube, metric: Metric) -> Slices:
    """Search conjunctions of up to three factor levels on one cube and test the candidates on the other.

    A slice of more factors is a candidate only when it is surely worse than every slice of one factor fewer that holds
    it. Candidates are tested once each on the second half, against all other samples, and corrected (Benjamini and
    Hochberg) for their number; the search itself cannot bias these tests.
    """
    table = group_table(search, metric, MIN_HALF)
    looked = table[table["tested"].astype(bool)] if len(table) else table
    sign = -1 if metric.share else 1
    harmed = looked[(sign * looked["gap"] > 0) & (looked["p"] < SEARCH_P)] if len(looked) else looked
    sums = _sums(search)
    chosen = [i for i, row in harmed.sort_values("p").iterrows() if _beyond_parents(_key(row), sums, metric)]
    candidates = harmed.loc[chosen[:MAX_CANDIDATES]]
    return Slices(_confirmed(candidates, confirm, metric), len(looked))


def _key(row: pd.Series) -> tuple[tuple[str, str], ...]:
    return tuple((row[f"factor_{i}"], row[f"level_{i}"]) for i in range(1, int(row["order"]) + 1))


def _sums(cube: Cube) -> dict[tuple[tuple[str, str], ...], tuple[float, float, float]]:
    """n, total and squares of every group of up to three factors, by its description."""
    from itertools import combinations

    found = {}
    for order in range(min(3, len(cube.factors)) + 1):
        for axes in combinations(range(len(cube.factors)), order):
            margin = cube.margin(axes)
            for code, *sums in zip(margin.codes, margin.n, margin.total, margin.squares, strict=True):
                key = tuple(
                    (cube.factors[axis].name, cube.factors[axis].levels[at])
                    for axis, at in zip(axes, code, strict=True)
                )
                found[key] = (float(sums[0]), float(sums[1]), float(sums[2]))
    return found


def _beyond_parents(
    key: tuple[tuple[str, str], ...],
    sums: dict[tuple[tuple[str, str], ...], tuple[float, float, float]],
    metric: Metric,
) -> bool:
    """Whether a slice is surely worse than the rest of every slice of one factor fewer that holds it."""
    if len(key) == 1:
        return True
    sign = -1 if metric.share else 1
    inside = sums[key]
    for drop in range(len(key)):
        parent = sums[key[:drop] + key[drop + 1 :]]
        outside = tuple(p - i for p, i in zip(parent, inside, strict=True))
        if outside[0] < MIN_HALF:
            return False
        worse = sign * (inside[1] / inside[0] - outside[1] / outside[0]) > 0
        if not worse or not _p(inside, outside, metric) < SEARCH_P:
            return False
    return True


def _p(inside: tuple[float, ...], outside: tuple[float, ...], metric: Metric) -> float:
    if metric.counted:
        n, k = np.array([inside[0]]), np.array([inside[1]])
        return float(fisher_exact(k, n, inside[1] + outside[1], inside[0] + outside[0])[0])
    arrays = [tuple(np.array([value]) for value in side) for side in (inside, outside)]
    sides = [(n, total / n, variance(n, total, squares)) for n, total, squares in arrays]
    return float(welch_p(*sides[0], *sides[1])[0])


def _confirmed(candidates: pd.DataFrame, confirm: Cube, metric: Metric) -> pd.DataFrame:
    """The candidates with their values on the confirming half."""
    columns = ["group", "order", "n", "value", "low", "high", "rest", "gap", "gap_low", "gap_high", "p"]
    table = group_table(confirm, metric, MIN_HALF)
    if not len(candidates) or not len(table):
        return pd.DataFrame(columns=[*columns, "found_value", "effect", "score", "q", "confirmed"])
    kept = table[table["tested"].astype(bool)][columns]
    found = candidates[["group", "value"]].rename(columns={"value": "found_value"}).merge(kept, on="group")
    whole = confirm.margin(())
    error, rest = (1 - found[name] if metric.share else found[name] for name in ("value", "rest"))
    sums = _sums(confirm)
    keys = {" · ".join(f"{name}: {level}" for name, level in key): value for key, value in sums.items()}
    inside = np.array([keys[group] for group in found["group"]]).reshape(-1, 3)
    outside = np.array([whole.n[0], whole.total[0], whole.squares[0]]) - inside
    found["effect"] = effect_size(error.to_numpy(), rest.to_numpy(), variance(*inside.T), variance(*outside.T))
    overall = float(whole.total[0] / whole.n[0])
    found["score"] = sliceline_score(
        error.to_numpy(), 1 - overall if metric.share else overall, found["n"].to_numpy(dtype=float), float(whole.n[0])
    )
    found["q"] = benjamini_hochberg(found["p"].to_numpy())
    harm = found["gap"] < 0 if metric.share else found["gap"] > 0
    found["confirmed"] = harm & (found["q"] <= 0.05)
    return found.sort_values("gap", ascending=metric.share, ignore_index=True)
