"""What the comparison of forecasts with trainings says, in sentences and tables of text."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from workbench.forecast.truth import statistics

#: Bins of the reliability table; fewer when there are few problems.
BINS = 5


def sentences(table: pd.DataFrame) -> list[str]:
    """The findings on the problems of one table, the main one first."""
    said = []
    for on, part in statistics.parts(table).items():
        if len(part) < 3 or on == "all":
            continue
        x, cost = part["forecast"].to_numpy(dtype=float), part["cost"].to_numpy(dtype=float)
        found = statistics.correlate(x, cost)
        others = [
            f"{statistics.correlate(part[column].to_numpy(dtype=float), cost)} for {name}"
            for column, name in statistics.FORECASTERS.items()
            if column != "forecast"
        ]
        what = "pairs of tasks" if on == "pairs" else "larger sets"
        said.append(
            f"On {found.n} {what}, the rank correlation of the forecast with the realised cost of sharing is {found}; "
            f"it is {' and '.join(others)}. Intervals are 95 %, over problems."
        )
    return said + _calls(table)


def _calls(table: pd.DataFrame) -> list[str]:
    calls = {str(row["call"]): row for row in statistics.calls(table).to_dict("records")}
    n = len(table)
    said = []
    conflict = calls["conflict"]
    if conflict["n"]:
        said.append(
            f"Conflict was called for {int(conflict['n'])} of {n} problems; {int(conflict['lost'])} of these lost by "
            f"sharing ({_share(conflict)}), {int(conflict['surely_lost'])} of them surely, by {conflict['cost']:.1f} "
            "points on average."
        )
    gain = calls["help"]
    if gain["n"]:
        said.append(
            f"Help was called for {int(gain['n'])}; {int(gain['n'] - gain['lost'])} of these did not lose, "
            f"{int(gain['surely_gained'])} surely gained."
        )
    missed = statistics.misses(table)
    silent = missed[missed["kind"] == "missed"]
    surely = int((table["cost_low"] > 0).sum())
    if surely:
        said.append(
            f"Of {surely} problems that surely lost by sharing, conflict was not called for {len(silent)}"
            + (f", the dearest of them {silent['problem'].iloc[0]}" if len(silent) else "")
            + "."
        )
    return said


def _share(row: Mapping[Hashable, Any]) -> str:
    share, low, high = (100 * row[name] for name in ("share", "low", "high"))
    return f"{share:.0f} %, 95 % interval {low:.0f} to {high:.0f} %"


def markdown(table: pd.DataFrame, lengths: pd.DataFrame) -> str:
    """Everything as Markdown: sentences, correlations, calls, reliability, lengths of the probe, misses."""
    n_bins = min(BINS, max(len(table) // 2, 1))
    sections: Mapping[str, pd.DataFrame] = {
        "Rank correlation with the realised cost": statistics.correlations(table),
        "What became of the calls": statistics.calls(table),
        f"Reliability, in {n_bins} bins of the forecast": statistics.reliability(table, n_bins),
        "Had the probe ended earlier (pairs)": statistics.by_length(lengths, table),
        "Misses": statistics.misses(table),
    }
    text = "\n\n".join(sentences(table))
    return text + "\n\n" + "\n".join(f"### {title}\n\n{_rows(frame)}" for title, frame in sections.items())


def _rows(frame: pd.DataFrame) -> str:
    lines = ["| " + " | ".join(map(str, frame.columns)) + " |", "|" + "---|" * len(frame.columns)]
    for row in frame.itertuples(index=False):
        lines.append("| " + " | ".join(_cell(cell) for cell in row) + " |")
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return "" if math.isnan(value) else f"{value:.3g}".replace("-", "−")
