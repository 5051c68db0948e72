"""What a margin per sample is learned from and what it does: offsets over training, single samples, balance of data.

Read from scalars ``margin/<factor>/<level>`` and ``meta/gain``, and from predictions with the columns ``margin``,
``hardness`` (1 minus the probability of the true class, margin included) and ``agreement`` (cosine of the sample's
gradient with that of a meta set).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from workbench.core import Run
from workbench.lenses.bias.cube import Factor, quoted

#: Columns of predictions that describe single samples.
COLUMNS = ("margin", "hardness", "agreement")
#: At most so many single samples are drawn.
MAX_SAMPLES = 2000


@dataclass(frozen=True)
class Margins:
    """Tables; each may be empty where the run did not record it.

    Attributes:
        offsets: step, factor, level, value: what a level adds to the margin, in units of cosine.
        shares: split, factor, level, n, share of the split's samples.
        association: One row a pair of factors: Cramér's V over the samples of the training split (0 = independent,
            1 = one tells the other). Offsets of associated factors cannot be told apart.
        samples: The last step's single samples: margin, hardness, agreement, and the level of every factor.
        gain: step, value: meta loss before minus after the virtual step, in nats.
    """

    offsets: pd.DataFrame
    shares: pd.DataFrame
    association: pd.DataFrame
    samples: pd.DataFrame
    gain: pd.DataFrame

    @property
    def widest(self) -> str | None:
        """The factor whose levels' mean margins lie furthest apart; None without single samples."""
        names = [str(name) for name in self.samples if name not in COLUMNS]
        gaps = {name: np.ptp(self.samples.groupby(name)["margin"].mean()) for name in names if len(self.samples)}
        return max(gaps, key=gaps.__getitem__, default=None)


def margins(run: Run, factors: Sequence[Factor]) -> Margins | None:
    """The margins of a run; None where it logged none and describes no split for training."""
    factors = [factor for factor in factors if not factor.edges]
    if not factors:
        return None
    offsets = offsets_of(run)
    if not len(offsets) and not len(run.query("SELECT 1 FROM samples WHERE split = 'train' LIMIT 1")):
        return None
    gain = _scalar(run, "meta/gain")
    return Margins(offsets, _shares(run, factors), _association(run, factors), _samples(run, factors), gain)


def offsets_of(run: Run) -> pd.DataFrame:
    """The logged offsets of a run, see :attr:`Margins.offsets`; empty where it logged none."""
    if not run.has("scalars"):
        return pd.DataFrame(columns=["step", "factor", "level", "value"])
    rows = run.query("SELECT step, tag, value FROM scalars WHERE starts_with(tag, 'margin/') ORDER BY step")
    parts = rows["tag"].str.split("/", n=2, expand=True).reindex(columns=range(3))
    table = pd.DataFrame({"step": rows["step"], "factor": parts[1], "level": parts[2], "value": rows["value"]})
    # A probe and the training loop may both log a step; the later one counts.
    return table.dropna().drop_duplicates(["step", "factor", "level"], keep="last")


def _scalar(run: Run, tag: str) -> pd.DataFrame:
    return run.query("SELECT step, value FROM scalars WHERE tag = ? AND isfinite(value) ORDER BY step", [tag])


def _shares(run: Run, factors: Sequence[Factor]) -> pd.DataFrame:
    parts = [
        run.query(
            f"SELECT split, CAST({quoted(factor.column)} AS VARCHAR) AS level, count(*) AS n FROM samples "
            f"WHERE {quoted(factor.column)} IS NOT NULL GROUP BY ALL"
        ).assign(factor=factor.name)
        for factor in factors
    ]
    table = pd.concat(parts, ignore_index=True)
    table["share"] = table["n"] / table.groupby(["split", "factor"])["n"].transform("sum")
    named = [(factor.name, level) for factor in factors for level in factor.levels]
    order = pd.MultiIndex.from_tuples(named).get_indexer(pd.MultiIndex.from_frame(table[["factor", "level"]]))
    known = table.assign(order=order)[order >= 0]
    return known.sort_values(["order", "split"], ignore_index=True).drop(columns="order")


def _association(run: Run, factors: Sequence[Factor]) -> pd.DataFrame:
    columns = ", ".join(f"CAST({quoted(factor.column)} AS VARCHAR) AS {quoted(factor.name)}" for factor in factors)
    table = run.query(f"SELECT {columns}, count(*) AS weight FROM samples WHERE split = 'train' GROUP BY ALL")
    names = [factor.name for factor in factors]
    rows = [
        {"factor_1": a, "factor_2": b, "association": cramers_v(table, a, b)}
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    ]
    return pd.DataFrame(rows, columns=["factor_1", "factor_2", "association"])


def cramers_v(table: pd.DataFrame, a: str, b: str) -> float:
    """Cramér's V of two columns of weighted rows; NaN where one has a single level.

    Source: Cramér 1946; sqrt(χ² / (n (min(levels) − 1))).
    """
    if not len(table):
        return np.nan
    counts = table.pivot_table(index=a, columns=b, values="weight", aggfunc="sum", fill_value=0).to_numpy(dtype=float)
    if min(counts.shape) < 2:
        return np.nan
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    chi2 = ((counts - expected) ** 2 / expected).sum()
    return float(np.sqrt(chi2 / (counts.sum() * (min(counts.shape) - 1))))


def _samples(run: Run, factors: Sequence[Factor]) -> pd.DataFrame:
    names = [factor.name for factor in factors]
    if not set(COLUMNS) <= set(run.columns("predictions")):
        return pd.DataFrame(columns=[*COLUMNS, *names])
    columns = ", ".join(f"CAST(s.{quoted(factor.column)} AS VARCHAR) AS {quoted(factor.name)}" for factor in factors)
    return run.query(
        f"SELECT p.margin, p.hardness, p.agreement, {columns} FROM predictions p JOIN samples s USING (sample) WHERE "
        "p.margin IS NOT NULL AND p.step = (SELECT max(step) FROM predictions WHERE margin IS NOT NULL) "
        f"ORDER BY hash(p.sample) LIMIT {MAX_SAMPLES}"
    )
