"""The same genuine pairs in two runs: whom does the change let in, whom does it shut out, and do the gaps close?

    change_g = TAR_g(second) − TAR_g(first)           each run at its own threshold for one false accept rate
    gap_v    = max over levels − min over levels of TAR      spread_v = standard deviation over levels

The thresholds are taken as given: their own uncertainty, from the impostors, is not in the intervals.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from workbench.core import ConfigError
from workbench.lenses.bias.drawing import STATES
from workbench.lenses.bias.paired import paired_interval
from workbench.lenses.bias.sample_metrics import ACCURACY
from workbench.lenses.bias.statistics import MIN_SUPPORT, Bias
from workbench.lenses.bias.verified import Verified
from workbench.lenses.bias.words import difference_range, difference_text, value_text
from workbench.lenses.empty_figure import empty
from workbench.lenses.intervals import benjamini_hochberg
from workbench.lenses.palette import UNKNOWN, faded
from workbench.lenses.words import count

_DRAWS = 400
_NO_OTHER = "Choose a second run with scores of the same pairs under Compare with, to see both joined."


@dataclass(frozen=True)
class PairedRates:
    """Two runs on the genuine pairs that both scored.

    Attributes:
        rate: The false accept rate that both hold.
        n: Genuine pairs in both.
        levels: factor, level, n, first, second (TAR), change with 95 % limits low and high, p, q (Benjamini-Hochberg).
        gaps: factor, first, second (gap between the best and the worst level of enough pairs), change with 95 %
            bootstrap limits over pairs, first_spread and second_spread.
    """

    rate: float
    n: int
    levels: pd.DataFrame
    gaps: pd.DataFrame


def compare_rates(first: Verified, second: Verified, min_support: int = MIN_SUPPORT, seed: int = 0) -> PairedRates:
    """Compare true accept rates pair by pair.

    Raises:
        ConfigError: the runs share no genuine pair or false accept rate, or the same numbers stand for other pairs.
    """
    rate = next((rate for rate in first.thresholds if rate in second.thresholds), None)
    if rate is None:
        raise ConfigError("The impostor pairs of the two runs carry no common false accept rate.")
    mine, theirs = first.genuine(rate), second.genuine(rate)
    factors = [name for name in first.factors if name in theirs]
    both = mine.merge(theirs[["sample", "accepted", *factors]], on="sample", suffixes=("", "_b"))
    if both.empty or any((both[name] != both[f"{name}_b"]).any() for name in factors):
        found = "share no genuine pair" if both.empty else "describe the same pairs otherwise"
        raise ConfigError(f"The two runs cannot be compared pair by pair: they {found}.")
    named = first.rates[["factor", "level"]].drop_duplicates()
    rows = [
        _change(name, level, part)
        for name in factors
        for level in named.loc[named["factor"] == name, "level"]
        if len(part := both[both[name] == level])
    ]
    levels = pd.DataFrame(rows)
    levels.loc[levels["n"] < min_support, "p"] = np.nan
    levels["q"] = benjamini_hochberg(levels["p"].to_numpy(dtype=float))
    rng = np.random.default_rng(seed)
    gaps = [_gap(name, both, min_support, rng) for name in factors]
    return PairedRates(rate, len(both), levels, pd.DataFrame([gap for gap in gaps if gap]))


def _change(factor: str, level: str, part: pd.DataFrame) -> dict[str, object]:
    a, b = part["accepted"].to_numpy(), part["accepted_b"].to_numpy()
    low, high, p = paired_interval(a, b, ACCURACY)
    return {
        "factor": factor, "level": level, "n": len(a), "first": a.mean(), "second": b.mean(),
        "change": b.mean() - a.mean(), "low": low, "high": high, "p": p,
    }  # fmt: skip


def _gap(factor: str, both: pd.DataFrame, min_support: int, rng: np.random.Generator) -> dict[str, object]:
    """One factor's gap in both runs; empty with fewer than two levels of enough pairs."""
    parts = [part for _, part in both.groupby(factor) if len(part) >= min_support]
    if len(parts) < 2:
        return {}
    drawn = np.stack([_drawn(part, rng) for part in parts])  # [levels, 2, draws]
    means = np.array([[part["accepted"].mean(), part["accepted_b"].mean()] for part in parts])
    first, second = np.ptp(means, axis=0)
    changes = np.ptp(drawn[:, 1], axis=0) - np.ptp(drawn[:, 0], axis=0)
    low, high = np.quantile(changes, [0.025, 0.975])
    spread = means.std(axis=0, ddof=1)
    return {
        "factor": factor, "first": first, "second": second, "change": second - first, "low": float(low),
        "high": float(high), "first_spread": spread[0], "second_spread": spread[1], "levels": len(parts),
    }  # fmt: skip


def _drawn(part: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Bootstrap draws of a level's two rates, [2, draws], by the counts of the four outcomes of a pair."""
    a, b = part["accepted"].to_numpy() > 0, part["accepted_b"].to_numpy() > 0
    shares = np.array([(a & b).mean(), (a & ~b).mean(), (~a & b).mean(), (~a & ~b).mean()])
    counts = rng.multinomial(len(part), shares, size=_DRAWS) / len(part)
    return np.stack([counts[:, 0] + counts[:, 1], counts[:, 0] + counts[:, 2]])


def two_runs(stats: Bias, other: Bias | None = None) -> go.Figure:
    """Left: the true accept rate of every level in both runs; right: the gap of every factor.

    Args:
        other: The second run.
    """
    if stats.verified is None or other is None or other.verified is None:
        return empty(_NO_OTHER)
    found = compare_rates(stats.verified, other.verified)
    gaps = found.gaps
    figure = make_subplots(
        rows=1, cols=2, column_widths=[0.58, 0.42], horizontal_spacing=0.16,
        subplot_titles=["true accept rate of each level", "gap between the best and the worst level"],
    )  # fmt: skip
    rows = found.levels
    labels = [f"{factor}: {level}  (n = {count(n)})" for factor, level, n in rows[["factor", "level", "n"]].to_numpy()]
    sure = (rows["q"] <= 0.05).to_numpy()
    _joined(figure, rows, labels, np.where(sure, np.sign(rows["change"]), 0), 1)
    if len(gaps):
        closes = np.where(gaps["high"] < 0, 1, np.where(gaps["low"] > 0, -1, 0))
        _joined(figure, gaps, gaps["factor"].tolist(), closes, 2)
    figure.update_xaxes(tickformat=".0%", rangemode="tozero")
    figure.update_yaxes(autorange="reversed", automargin=True, showgrid=False)
    note = (
        f"{count(found.n)} genuine pairs, each run at its own threshold for a false accept rate of {found.rate:.1%}. "
        "Thick blue: surely better, thick orange: surely worse, grey: not sure"
    )
    return figure.update_layout(
        title={"text": "Accepted pairs in this run (hollow) and in the other (filled)", "subtitle": {"text": note}},
        height=210 + 34 * len(labels), showlegend=False, margin={"t": 120},
    )  # fmt: skip


def _joined(figure: go.Figure, rows: pd.DataFrame, labels: list[str], better: np.ndarray, column: int) -> None:
    """Two joined dots a row; ``better`` 1, -1 or 0 where nothing is sure."""
    colour = {1: STATES["better than the rest"][0], -1: STATES["worse than the rest"][0], 0: UNKNOWN}
    records = rows.to_dict("records")
    for label, row, sign in zip(labels, records, better, strict=True):
        tint = colour[int(sign)]
        figure.add_scatter(
            x=[row["first"], row["second"]], y=[label, label], mode="lines", hoverinfo="skip", row=1, col=column,
            line={"color": faded(tint, 0.9), "width": 5 if sign else 2},
        )  # fmt: skip
    for side, symbol in (("first", "circle-open"), ("second", "circle")):
        figure.add_scatter(
            x=rows[side], y=labels, mode="markers", customdata=[_hover(row) for row in records], row=1, col=column,
            marker={"color": "#56B4E9", "symbol": symbol, "size": 11, "line": {"width": 2, "color": "#56B4E9"}},
            hovertemplate="%{y}<br>%{customdata}<extra></extra>",
        )  # fmt: skip


def _hover(row: Mapping[Hashable, Any]) -> str:
    lines = [
        f"{value_text(row['first'], True)} to {value_text(row['second'], True)}",
        f"change {difference_text(row['change'], True)}",
        f"95 % interval {difference_range(row['low'], row['high'], True)}",
    ]
    if "first_spread" in row:
        spreads = [value_text(row[f"{side}_spread"], True) for side in ("first", "second")]
        lines.append(f"standard deviation over levels {spreads[0]} to {spreads[1]}")
    return "<br>".join(lines)
