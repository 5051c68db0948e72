"""The sentences about tasks learned one after the other: what is kept, where, and what the answers lean to."""

from __future__ import annotations

import numpy as np
import pandas as pd

from workbench.core.gramian import student95
from workbench.lenses.base import Level, Verdict
from workbench.lenses.domains.stream import UNSEEN, Stream
from workbench.lenses.intervals import wilson
from workbench.lenses.words import percent, percent_range

#: Forgetting above which earlier tasks are as good as given up, and below which nothing needs doing.
MAX_FORGETTING, FINE_FORGETTING = 0.2, 0.05
#: A share of answers for the newest task's classes this far above their share of samples is a leaning.
MAX_LEANING = 0.05


def stream_verdicts(stream: Stream) -> list[Verdict]:
    """Forgetting first; then the unseen domains, the leaning to new classes, and what the metrics ignore."""
    model = stream.models[0]
    mine = stream.summary[stream.summary["model"] == model].set_index("scope")
    said = [_forgetting(stream, model, mine.iloc[0], str(mine.index[0]))]
    if UNSEEN in mine.index:
        said.append(_unseen(mine.iloc[0], mine.iloc[list(mine.index).index(UNSEEN)]))
    return [*said, *_leaning(stream, model), *_ignored(stream)]


def _forgetting(stream: Stream, model: str, row: pd.Series, scope: str) -> Verdict:
    matrix = stream.matrix(model, scope)
    n = len(stream.stages)
    lost = np.array([np.nanmax(matrix[u : n - 1, u]) - matrix[n - 1, u] for u in range(n - 1)])
    worst = int(lost.argmax())
    known = not np.isnan(row["forgetting_low"])
    low, high = (row["forgetting_low"], row["forgetting_high"]) if known else (row["forgetting"],) * 2
    level: Level = "problem" if low > MAX_FORGETTING else "fine" if high <= FINE_FORGETTING else "watch"
    how_sure = (
        f"(95 % interval {100 * row['forgetting_low']:.0f} to {100 * row['forgetting_high']:.0f}, n = {row['n']:,})"
        if known
        else "(no interval: only accuracies were logged, not the answers behind them)"
    )
    sentence = (
        f"After {n} tasks, earlier tasks have lost {100 * row['forgetting']:.1f} points of their best accuracy "
        f"{how_sure}, {scope}; most of it '{stream.stages[worst]}', {100 * lost[worst]:.0f} points. All tasks "
        f"together stand at {percent(row['average'])}."
    )
    next_step = (
        "Keep more exemplars of old classes, or hold their scores by distillation; 'Kept and forgotten' shows which "
        "tasks fade."
        if level != "fine"
        else "Nothing: what was learned is kept."
    )
    return Verdict(
        level, sentence, next_step, value=float(row["forgetting"]), low=_number(row["forgetting_low"]),
        high=_number(row["forgetting_high"]), options={"view": "kept", "scope": scope, "model": model},
    )  # fmt: skip


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _unseen(seen: pd.Series, unseen: pd.Series) -> Verdict:
    known = not np.isnan(unseen["average_low"])
    apart = seen["average"] - unseen["average"]
    # Samples of different domains are drawn apart, so the two intervals add up in squares.
    half = np.hypot(seen["average"] - seen["average_low"], unseen["average_high"] - unseen["average"])
    level: Level = "watch" if (not known and apart > MAX_LEANING) or apart - half > MAX_LEANING else "fine"
    interval = percent_range(unseen["average_low"], unseen["average_high"])
    sentence = (
        f"In unseen domains all tasks together stand at {percent(unseen['average'])}"
        + (f" (95 % interval {interval}, n = {unseen['n']:,})" if known else "")
        + f", {100 * apart:.0f} points below the seen ones; {100 * unseen['forgetting']:.0f} points were lost there."
    )
    next_step = (
        "Compare forgetting in both: what fades in unseen domains first was learned by features of the seen ones."
        if level != "fine"
        else ""
    )
    return Verdict(level, sentence, next_step, value=float(apart), options={"view": "balance"})


def _leaning(stream: Stream, model: str) -> list[Verdict]:
    n = len(stream.stages)
    rows = stream.recency
    rows = rows[(rows["model"] == model) & (rows["scope"] == stream.scopes[0])]
    rows = rows[(rows["learned"] == n) & (rows["stage"] == n)]
    if rows.empty:
        return []
    share, truth, size = (float(rows[key].iloc[0]) for key in ("share", "true_share", "n"))
    low, high = (float(end[0]) for end in wilson(np.array([share * size]), np.array([size])))
    level: Level = "watch" if low > truth + MAX_LEANING else "fine"
    sentence = (
        f"{percent(share)} of the answers name classes of the last task (95 % interval {percent_range(low, high)}, "
        f"n = {size:,.0f}); {percent(truth)} of the samples belong to it, {stream.scopes[0]}."
    )
    next_step = "Balance old and new classes in a short last training, or correct the scores of new ones."
    options = {"view": "recency", "model": model}
    return [Verdict(level, sentence, next_step if level != "fine" else "", share, low, high, options)]


def _ignored(stream: Stream) -> list[Verdict]:
    if stream.geometry is None or len(stream.geometry.ignored) < 3:
        return []
    rows = stream.geometry.ignored
    beyond = (rows["ignored"] - rows["chance"]).to_numpy(dtype=float)
    mean = float(beyond.mean())
    half = student95(len(beyond) - 1) * float(beyond.std(ddof=1)) / len(beyond) ** 0.5
    known = "more than" if mean - half > 0 else "less than" if mean + half < 0 else "about as much as"
    sentence = (
        f"The classes' metrics do not see {percent(float(rows['ignored'].mean()))} of the variance between domains, "
        f"{known} chance would give (difference {100 * mean:+.0f} points, 95 % interval over {len(beyond)} classes "
        f"{100 * (mean - half):+.0f} to {100 * (mean + half):+.0f})."
    )
    level: Level = "fine" if mean - half > 0 else "watch"
    next_step = "" if level == "fine" else "The metrics do not help against domain shift; compare with a linear head."
    return [Verdict(level, sentence, next_step, mean, mean - half, mean + half, {"view": "ignored"})]
