"""Which annotated labels occur in the same samples, and whether that context differs between datasets."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Float

from workbench.core import Run
from workbench.core.gramian import Z95
from workbench.core.schema import TRUTH
from workbench.lenses.intervals import benjamini_hochberg, normal_p

#: Pairs are compared among at most so many labels, the most frequent ones.
MAX_LABELS = 40
#: A label counts for context when it is present in at least so many samples and absent from as many.
MIN_SAMPLES = 5

_COUNTS = """
WITH present AS (
    SELECT DISTINCT dataset, sample, label FROM label_counts WHERE source = $truth AND weight > 0
), sizes AS (SELECT dataset, count(DISTINCT sample) AS n FROM present GROUP BY dataset)
SELECT dataset, x.label AS label_x, y.label AS label_y, count(*) AS both, any_value(n) AS n
FROM present x JOIN present y USING (dataset, sample) JOIN sizes USING (dataset)
WHERE x.label <= y.label GROUP BY dataset, x.label, y.label ORDER BY ALL
"""


def log_odds_ratio(
    table: Float[np.ndarray, "N 4"],
) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """Log odds ratio of 2 × 2 counts (both, first only, second only, neither) and its standard error √Σ 1/n.

    Half a sample is added to every cell of a table that holds a 0 (Haldane 1956).
    """
    smoothed = np.where((table == 0).any(axis=1, keepdims=True), table + 0.5, table)
    logs = np.log(smoothed)
    return logs @ np.array([1.0, -1.0, -1.0, 1.0]), np.sqrt((1 / smoothed).sum(axis=1))


def copresence(run: Run) -> pd.DataFrame:
    """One row a dataset and pair of its labels: samples with both, one, neither; lift, Jaccard, phi, log odds ratio."""
    counts = run.query(_COUNTS, {"truth": TRUTH})
    frames = []
    for dataset, rows in counts.groupby("dataset", sort=False):
        single = rows[rows["label_x"] == rows["label_y"]].set_index("label_x")["both"]
        usable = single.sort_values(ascending=False, kind="stable").index[:MAX_LABELS]
        both = {(x, y): n for x, y, n in zip(rows["label_x"], rows["label_y"], rows["both"], strict=True)}
        n = float(rows["n"].iloc[0])
        pairs = list(combinations(sorted(usable), 2))
        table = np.array(
            [
                [(k := both.get((x, y), 0)), single[x] - k, single[y] - k, n - single[x] - single[y] + k]
                for x, y in pairs
            ],
            dtype=float,
        ).reshape(-1, 4)
        frames.append(_measures(str(dataset), pairs, table))
    columns = [
        "dataset",
        "label_x",
        "label_y",
        "both",
        "x_only",
        "y_only",
        "neither",
        "lift",
        "log_odds_ratio",
        "error",
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def _measures(dataset: str, pairs: list[tuple[str, str]], table: Float[np.ndarray, "N 4"]) -> pd.DataFrame:
    both, x_only, y_only, neither = table.T
    n, x, y = table.sum(axis=1), both + x_only, both + y_only
    value, error = log_odds_ratio(table)
    with np.errstate(divide="ignore", invalid="ignore"):
        lift = both * n / (x * y)
        phi = (both * neither - x_only * y_only) / np.sqrt(x * y * (n - x) * (n - y))
        jaccard = both / (both + x_only + y_only)
    return pd.DataFrame(
        {
            "dataset": dataset,
            "label_x": [pair[0] for pair in pairs],
            "label_y": [pair[1] for pair in pairs],
            "both": both,
            "x_only": x_only,
            "y_only": y_only,
            "neither": neither,
            "lift": lift,
            "jaccard": jaccard,
            "phi": phi,
            "log_odds_ratio": value,
            "error": error,
        }
    )


def context_differences(counts: pd.DataFrame) -> pd.DataFrame:
    """Pairs of labels that two datasets share, with the difference of their log odds ratios, z, p and q.

    A context that exists in one dataset only is a shortcut that fails in the other. Pairs of which a label is nearly
    always or nearly never present in one of the datasets are left out.
    """
    varied = counts[
        (counts[["both", "x_only"]].sum(axis=1) >= MIN_SAMPLES)
        & (counts[["both", "y_only"]].sum(axis=1) >= MIN_SAMPLES)
        & (counts[["y_only", "neither"]].sum(axis=1) >= MIN_SAMPLES)
        & (counts[["x_only", "neither"]].sum(axis=1) >= MIN_SAMPLES)
    ]
    frames = []
    for a, b in combinations(dict.fromkeys(counts["dataset"]), 2):
        of_a, of_b = (varied[varied["dataset"] == name] for name in (a, b))
        both = of_a.merge(of_b, on=["label_x", "label_y"], suffixes=("_a", "_b"))
        if len(both):
            frames.append(both)
    columns = ["label_x", "label_y", "dataset_a", "dataset_b", "difference", "low", "high", "z", "p", "q"]
    if not frames:
        return pd.DataFrame(columns=columns)
    found = pd.concat(frames, ignore_index=True)
    difference = (found["log_odds_ratio_a"] - found["log_odds_ratio_b"]).to_numpy()
    error = np.hypot(found["error_a"], found["error_b"]).to_numpy()
    found["difference"], found["z"] = difference, difference / error
    found["low"], found["high"] = difference - Z95 * error, difference + Z95 * error
    found["p"] = normal_p(difference / error)
    found["q"] = benjamini_hochberg(found["p"].to_numpy())
    return found.sort_values("p", ignore_index=True)
