"""Two runs on the same samples, group by group: whom did the change help, and whom did it cost?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Float

from workbench.core import Run, WorkbenchError
from workbench.core.gramian import Z95
from workbench.lenses.base import Verdict
from workbench.lenses.bias.cube import Factor, Selection, level_codes, level_key, quoted, select
from workbench.lenses.bias.drawing import STATES, percent_ticks, rows_layout
from workbench.lenses.bias.factors import Binning, build_factors
from workbench.lenses.bias.sample_metrics import Metric, value_sql
from workbench.lenses.bias.statistics import MIN_SUPPORT, statistics
from workbench.lenses.bias.words import capital, difference_range, difference_text, value_text
from workbench.lenses.empty_figure import empty
from workbench.lenses.intervals import benjamini_hochberg, normal_p
from workbench.lenses.palette import UNKNOWN, faded
from workbench.lenses.words import count


@dataclass(frozen=True)
class Comparison:
    """One task of two runs, on the samples that both predicted.

    Attributes:
        names: Of the two runs; changes are second − first.
        groups: One row a group of one factor and one for all samples (order 0): n, value of both runs, change with
            95 % limits, p, q.
    """

    names: tuple[str, str]
    task: str
    metric: Metric
    steps: tuple[int, int]
    n: int
    groups: pd.DataFrame


def compare(
    first: Run,
    second: Run,
    task: str | None = None,
    steps: tuple[int | None, int | None] = (None, None),
    split: str | None = None,
    factors: Sequence[str] | None = None,
    metric: str | None = None,
    label: str | None = None,
    bins: int = 4,
    binning: str = "counts",
    edges: Mapping[str, Sequence[float]] | None = None,
    min_support: int = MIN_SUPPORT,
) -> Comparison:
    """Compare two runs sample by sample; groups come from the first run's samples.

    Args:
        steps: One a run; the last recorded ones by default.
        metric, label, bins, binning, edges: As in :func:`workbench.lenses.bias.statistics.statistics`.

    Raises:
        MissingTable, ConfigError: as :func:`statistics` of either run.
        WorkbenchError: the runs share no predicted sample, or the same numbers stand for samples of other targets.
    """
    # No factors: the groups are formed below, of the samples that both runs predicted.
    ours = statistics(first, task, steps[0], split, [], metric, label, details=False)
    theirs = statistics(second, ours.task, steps[1], ours.split or "all", [], ours.metric, label, details=False)
    selection = select(first, ours.task, ours.split)
    chosen, _ = build_factors(
        selection, factors, Binning(bins, binning, {k: tuple(v) for k, v in (edges or {}).items()})
    )
    other = select(second, ours.task, ours.split)
    keys = (level_key(selection, factor) for factor in chosen)
    columns = "".join(f", CAST({key} AS VARCHAR) AS k{i}" for i, key in enumerate(keys))
    target = f", {_target(selection, ours.measured)} AS t"
    mine, yours = (
        side.query(
            side.joined(f"sample, {value_sql(side, ours.measured)} AS v{target}{extra}") + f" AND p.step = {int(step)}"
        )
        for side, extra, step in ((selection, columns, ours.step), (other, "", theirs.step))
    )
    both = mine.merge(yours, on="sample", suffixes=("", "_b")).dropna(subset=["v", "v_b"])
    if not len(both) or (both["t"] != both["t_b"]).any():
        raise WorkbenchError(
            f"Runs '{first.name}' and '{second.name}' cannot be compared sample by sample: "
            + (
                "they predicted no sample in common."
                if not len(both)
                else "the same sample numbers have other targets."
            )
        )
    groups = _changes(both, chosen, ours.measured, min_support)
    return Comparison((first.name, second.name), ours.task, ours.measured, (ours.step, theirs.step), len(both), groups)


def _target(selection: Selection, metric: Metric) -> str:
    """What is true of a sample as text, to see that both runs mean the same one; '' where its loss alone is known."""
    if metric.name == "loss":
        return "''"
    if metric.name in ("accuracy", "error"):
        return f"CAST(s.{quoted(selection.target)} AS VARCHAR)"
    return "CAST(list_transform(range(1, len(p.tp) + 1), lambda k: p.tp[k] + p.fn[k]) AS VARCHAR)"


def _changes(both: pd.DataFrame, factors: Sequence[Factor], metric: Metric, min_support: int) -> pd.DataFrame:
    a, b = both["v"].to_numpy(dtype=float), both["v_b"].to_numpy(dtype=float)
    rows = [_change("all samples", "", "", a, b, metric) | {"order": 0}]
    for i, factor in enumerate(factors):
        codes = level_codes(both[f"k{i}"], factor)
        for at, level in enumerate(factor.levels):
            inside = codes == at
            if inside.any():
                title = f"{factor.name}: {level}"
                rows.append(_change(title, factor.name, level, a[inside], b[inside], metric) | {"order": 1})
    frame = pd.DataFrame(rows)
    frame.loc[frame["n"] < min_support, "p"] = np.nan
    frame["q"] = np.nan
    single = frame["order"] == 1
    frame.loc[single, "q"] = benjamini_hochberg(frame.loc[single, "p"].to_numpy())
    return frame


def _change(
    group: str, factor: str, level: str, a: Float[np.ndarray, " N"], b: Float[np.ndarray, " N"], metric: Metric
) -> dict[str, object]:
    low, high, p = paired_interval(a, b, metric)
    return {
        "group": group,
        "factor": factor,
        "level": level,
        "n": len(a),
        "first": a.mean(),
        "second": b.mean(),
        "change": b.mean() - a.mean(),
        "low": low,
        "high": high,
        "p": p,
    }


def paired_interval(
    a: Float[np.ndarray, " N"], b: Float[np.ndarray, " N"], metric: Metric
) -> tuple[float, float, float]:
    """95 % limits of mean(b − a) over pairs, and a two-sided p-value.

    Counts: limits from one pair added to each of the two discordant counts (Bonett and Price 2012), p from
    McNemar's exact test (binomial on the discordant pairs). Otherwise normal limits and test of the differences.
    """
    n, difference = len(a), b - a
    if not metric.counted:
        if n < 2:
            return float("nan"), float("nan"), float("nan")
        mean, error = difference.mean(), difference.std(ddof=1) / np.sqrt(n)
        p = float(normal_p(np.array(mean / error))) if error > 0 else float("nan")
        return mean - Z95 * error, mean + Z95 * error, p
    gained, lost = float((difference > 0).sum()), float((difference < 0).sum())
    up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    half = Z95 * np.sqrt((up + down - (up - down) ** 2) / (n + 2))
    return max(-1.0, up - down - half), min(1.0, up - down + half), mcnemar_p(gained, lost)


def mcnemar_p(gained: float, lost: float) -> float:
    """Exact two-sided McNemar test: where nothing changed, gains among discordant pairs are binomial with rate 1/2."""
    from scipy.special import bdtr

    return float(min(1.0, 2 * bdtr(min(gained, lost), int(gained + lost), 0.5)))


def figure(comparison: Comparison, limit: int = 40) -> go.Figure:
    """Both runs' value of every group, joined; the groups that lost most first."""
    rows = comparison.groups[comparison.groups["order"] == 1]
    sign = 1 if comparison.metric.share else -1
    rows = rows.iloc[np.argsort(sign * rows["change"].to_numpy(), kind="stable")][:limit]
    rows = pd.concat([rows, comparison.groups[comparison.groups["order"] == 0]])
    if len(rows) < 2:
        return empty("There are no groups to compare.")
    labels = [f"{row['group']}  (n = {count(row['n'])})" for _, row in rows.iterrows()]
    drawn = go.Figure()
    for label, (_, row) in zip(labels, rows.iterrows(), strict=True):
        sure = row["q"] <= 0.05
        better = sign * row["change"] > 0
        colour = STATES["better than the rest" if better else "worse than the rest"][0] if sure else UNKNOWN
        drawn.add_trace(
            go.Scatter(
                x=[row["first"], row["second"]],
                y=[label, label],
                mode="lines",
                line={"color": faded(colour, 0.9), "width": 5 if sure else 2},
                showlegend=False,
                hoverinfo="skip",
            )
        )
    hover = [_hover(row, comparison.metric.share) for _, row in rows.iterrows()]
    for column, name, symbol in (
        ("first", comparison.names[0], "circle-open"),
        ("second", comparison.names[1], "circle"),
    ):
        drawn.add_trace(
            go.Scatter(
                x=rows[column],
                y=labels,
                mode="markers",
                name=name,
                marker={"color": "#56B4E9", "symbol": symbol, "size": 11, "line": {"width": 2, "color": "#56B4E9"}},
                customdata=hover,
                hovertemplate="%{customdata}<extra></extra>",
            )
        )
    metric = comparison.metric.title
    return rows_layout(
        drawn,
        labels,
        f"{capital(metric)} of each group in both runs: orange lost, blue gained, grey not sure",
        {"title": metric} | percent_ticks(comparison.metric.share),
    )


def _hover(row: pd.Series, share: bool) -> str:
    return (
        f"<b>{row['group']}</b><br>{value_text(row['first'], share)} to {value_text(row['second'], share)}"
        f"<br>change {difference_text(row['change'], share)} "
        f"(95 % interval {difference_range(row['low'], row['high'], share)})<br>{count(row['n'])} samples in both"
    )


def verdicts(comparison: Comparison) -> list[Verdict]:
    """Who surely gained, who surely lost, and by how much; "cannot tell" where no group's change is sure."""
    groups = comparison.groups[(comparison.groups["order"] == 1) & (comparison.groups["q"] <= 0.05)]
    sign = 1 if comparison.metric.share else -1
    lost, gained = groups[sign * groups["change"] < 0], groups[sign * groups["change"] > 0]
    found = []
    for rows, level, verb in ((lost, "watch", "lost"), (gained, "fine", "gained")):
        if len(rows):
            row = rows.iloc[np.argmax(np.abs(rows["change"].to_numpy()))]
            more = f"; {len(rows)} groups {verb} in all" if len(rows) > 1 else ""
            found.append(
                Verdict(
                    "watch" if level == "watch" else "fine",
                    f"{row['group']} {verb} {difference_text(row['change'], comparison.metric.share)} from "
                    f"'{comparison.names[0]}' to '{comparison.names[1]}' (95 % interval "
                    f"{difference_range(row['low'], row['high'], comparison.metric.share)}, {count(row['n'])} "
                    f"samples in both runs){more}.",
                    next_step="Look at the samples whose answers changed." if verb == "lost" else "",
                    value=float(row["change"]),
                    low=float(row["low"]),
                    high=float(row["high"]),
                )
            )
    if found:
        return found
    row = comparison.groups[comparison.groups["order"] == 0].iloc[0]
    return [
        Verdict(
            "cannot tell",
            f"No group changes surely between '{comparison.names[0]}' and '{comparison.names[1]}'; over all "
            f"{count(row['n'])} common samples the change is "
            f"{difference_range(row['low'], row['high'], comparison.metric.share)} (95 % interval).",
            next_step="Record predictions of more samples in both runs.",
        )
    ]
