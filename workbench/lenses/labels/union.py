"""What each loss would teach the outputs of one classifier over all labels, merged by name only.

Where dataset B has a region that A's annotators would have called u, and B calls it t, a softmax over the union pushes
u down: a wrong lesson. Counted are the regions of B on which A's head says u; what that head says wrongly at home is
shown beside it.

    taught_u   mean weight annotated u, per sample of the datasets that annotate it
    opposed_u  mean weight per sample of B that A's head calls u and B calls t != u
    wrong_u  = opposed_u / (taught_u + opposed_u)        share of u's lessons that are wrong, each dataset drawn equally
    union cross-entropy:      all of opposed_u
    one binary loss a class:  only where B annotates the name u as well; it is silent elsewhere
    class-relational loss:    the same, and regions whose label t is the same as u or a part of it teach u besides

Source: the three losses are those of Kim et al. 2022, arXiv:2202.14030; weighing them by what the heads say across
datasets is our choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from workbench.core import Run
from workbench.core.gramian import Z95
from workbench.core.schema import TRUTH

COLUMNS = [
    "label", "dataset", "other", "shared", "taught", "opposed", "at_home", "wrong", "low", "high", "wrong_per_class",
    "extra", "samples",
]  # fmt: skip

# Per sample, then summed: what is annotated u ('truth'), and what a head calls u that is annotated otherwise ('else').
_SUMS = """
WITH truth AS (
    SELECT dataset, sample, region, any_value(label) AS t, sum(weight) AS weight
    FROM label_counts WHERE source = $truth AND weight > 0
    GROUP BY dataset, sample, region HAVING count(DISTINCT label) = 1
), said AS (
    SELECT dataset, sample, region, source AS head, label AS h, sum(weight) AS weight
    FROM label_counts WHERE source <> $truth AND weight > 0 {step} GROUP BY ALL
), shared AS (
    SELECT *, weight / sum(weight) OVER (PARTITION BY dataset, sample, region, head) AS share FROM said
), cell AS (
    SELECT dataset, head, sample, h, t, sum(truth.weight * share) AS m
    FROM shared JOIN truth USING (dataset, sample, region) GROUP BY ALL
), n_truth AS (SELECT dataset, count(DISTINCT sample) AS n FROM truth GROUP BY ALL
), n_said AS (SELECT dataset, head, count(DISTINCT sample) AS n FROM cell GROUP BY ALL
), annotated AS (SELECT dataset, sample, t, sum(weight) AS m FROM truth GROUP BY ALL
), elsewise AS (SELECT dataset, head, sample, h, sum(m) AS m FROM cell WHERE t <> h GROUP BY ALL)
SELECT 'truth' AS kind, dataset, dataset AS head, t AS label, NULL AS t, sum(m) AS m, sum(m * m) AS mm,
       any_value(n) AS n
FROM annotated JOIN n_truth USING (dataset) GROUP BY ALL
UNION ALL SELECT 'else', dataset, head, h, NULL, sum(m), sum(m * m), any_value(n)
FROM elsewise JOIN n_said USING (dataset, head) GROUP BY ALL
UNION ALL SELECT 'cell', dataset, head, h, t, sum(m), sum(m * m), any_value(n)
FROM cell JOIN n_said USING (dataset, head) GROUP BY ALL
ORDER BY ALL
"""


def lessons(
    run: Run, spaces: Mapping[str, Sequence[str]], relations: pd.DataFrame, step: int | None = None
) -> pd.DataFrame:
    """One row a label, the dataset that annotates it, and another dataset on whose samples its head was run.

    Columns: ``taught``, ``opposed`` and ``at_home`` (what the head calls u on its own samples that is annotated
    otherwise) are mean weights a sample; ``wrong`` with 95 % limits is u's share of wrong lessons under a softmax over
    the union, ``wrong_per_class`` under one binary loss a class; ``extra`` the mean weight a sample that the
    class-relational loss adds to ``taught``; ``shared``: both datasets have the name. The limits are those of a ratio
    of two means over independent samples on the logit scale; NaN with fewer than two samples.
    """
    parameters: dict[str, object] = {"truth": TRUTH} | ({} if step is None else {"step": step})
    found = run.query(_SUMS.format(step="" if step is None else "AND step = $step"), parameters)
    sums = {(row.kind, row.dataset, row.head, row.label, row.t): row for row in found.fillna({"t": ""}).itertuples()}
    related = _related(relations)
    rows = []
    for dataset, labels in spaces.items():
        heads = found.loc[(found["kind"] == "cell") & (found["head"] == dataset), "dataset"].unique()
        for other in (name for name in spaces if name != dataset and name in heads):
            n = found.loc[(found["kind"] == "cell") & (found["dataset"] == other) & (found["head"] == dataset), "n"]
            for label in labels:
                taught, taught_var = _mean(sums.get(("truth", dataset, dataset, label, "")))
                opposed, opposed_var = _mean(sums.get(("else", other, dataset, label, "")))
                at_home, _ = _mean(sums.get(("else", dataset, dataset, label, "")))
                wrong, low, high = _share(opposed, opposed_var, taught, taught_var)
                shared = label in spaces[other]
                kin = [t for t in spaces[other] if (other, t, dataset, label) in related and t != label]
                extra = 0.0 if shared else sum(_mean(sums.get(("cell", other, dataset, label, t)))[0] for t in kin)
                rows.append(
                    {
                        "label": label,
                        "dataset": dataset,
                        "other": other,
                        "shared": shared,
                        "taught": taught,
                        "opposed": opposed,
                        "at_home": at_home,
                        "wrong": wrong,
                        "low": low,
                        "high": high,
                        "wrong_per_class": wrong if shared else 0.0,
                        "extra": extra,
                        "samples": int(n.iloc[0]),
                    }
                )
    return pd.DataFrame(rows, columns=COLUMNS).sort_values("wrong", ascending=False, ignore_index=True)


def _related(relations: pd.DataFrame) -> set[tuple[str, str, str, str]]:
    """(dataset, label, other, label): the first is the same as the second, or a part of it."""
    found = set()
    for _, row in relations.iterrows():
        a, b = (row["dataset_a"], row["label_a"]), (row["dataset_b"], row["label_b"])
        inner = row["kind"] in ("part of", "contradicts")
        if row["kind"] == "same" or (inner and row["direction"] == "a in b"):
            found.add((*a, *b))
        if row["kind"] == "same" or (inner and row["direction"] == "b in a"):
            found.add((*b, *a))
    return found


def _mean(row: object) -> tuple[float, float]:
    """Mean a sample and its variance, from the sums; samples without the label count as 0."""
    if row is None:
        return 0.0, 0.0
    total, squares, n = float(row.m), float(row.mm), int(row.n)  # type: ignore[attr-defined]
    variance = max(squares - total**2 / n, 0.0) / max(n - 1, 1) / n if n > 1 else np.nan
    return total / n, variance


def _share(part: float, part_var: float, rest: float, rest_var: float) -> tuple[float, float, float]:
    """part / (part + rest) with 95 % limits on the logit scale, where log part and log rest are independent."""
    if part + rest <= 0:
        return np.nan, np.nan, np.nan
    if part == 0 or rest == 0:
        value = part / (part + rest)
        return value, value if part == 0 else np.nan, value if rest == 0 else np.nan
    se = np.sqrt(part_var / part**2 + rest_var / rest**2)
    logit = np.log(part / rest)
    low, high = (1 / (1 + np.exp(-(logit + sign * Z95 * se))) for sign in (-1, 1))
    return part / (part + rest), float(low), float(high)
