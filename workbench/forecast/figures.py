"""The pictures of a forecast. They draw what was computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from workbench.core import ConfigError
from workbench.core.schema import ALL_MODULES
from workbench.forecast.estimator import MARGIN
from workbench.forecast.where import rows
from workbench.lenses.palette import DIVERGING, UNKNOWN, colours, symbols

if TYPE_CHECKING:
    from workbench.forecast.result import Forecast

#: Colour and symbol of a call; colour alone never carries it.
CALLS = {
    "conflict": ("#D55E00", "triangle-up"),
    "undetermined": (UNKNOWN, "circle-open"),
    "neither": ("#6B6B6B", "line-ew-open"),
    "help": ("#2B83C6", "circle"),
}
#: Pairs that fit one figure; the table holds the rest.
MAX_PAIRS, MAX_MODULES = 40, 40


def costs(found: Forecast) -> go.Figure:
    """Every pair's predicted cost of sharing with its 95 % interval, the dearest on top."""
    pairs = found.pairs.sort_values("cost", ascending=False).head(MAX_PAIRS)
    names = [f"{row.task_a} – {row.task_b}" for row in rows(pairs)]
    figure = go.Figure()
    for call, (colour, symbol) in CALLS.items():
        mine = (pairs["call"] == call).to_numpy()
        if not mine.any():
            continue
        part = pairs[mine]
        value, low, high = (100 * part[key].to_numpy() for key in ("cost", "low", "high"))
        known = np.isfinite(low) & np.isfinite(high)
        figure.add_trace(
            go.Scatter(
                x=value, y=[name for name, keep in zip(names, mine, strict=True) if keep], mode="markers", name=call,
                marker={"color": colour, "symbol": symbol, "size": 11, "line": {"width": 2, "color": colour}},
                error_x={
                    "type": "data", "symmetric": False, "color": colour, "thickness": 2,
                    "array": np.where(known, high - value, 0), "arrayminus": np.where(known, value - low, 0),
                },
                customdata=np.stack([part["where"], part["low"] * 100, part["high"] * 100], axis=1),
                hovertemplate="%{y}<br>%{x:.1f} % (%{customdata[1]:.1f} to %{customdata[2]:.1f} %)"
                "<br>%{customdata[0]}<extra>" + call + "</extra>",
            )
        )  # fmt: skip
    figure.add_vrect(x0=0, x1=100 * MARGIN, fillcolor=UNKNOWN, opacity=0.25, line_width=0)
    figure.add_vline(x=0, line={"color": UNKNOWN, "width": 1})
    return figure.update_layout(
        title="Predicted cost of sharing, pair by pair",
        xaxis={"title": f"cost in % {found.unit}; negative: a gain", "zeroline": False},
        yaxis={"categoryorder": "array", "categoryarray": names[::-1], "automargin": True, "title": ""},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        height=140 + 30 * max(len(names), 3),
    )


def matrix(found: Forecast) -> go.Figure:
    """What sharing with the row's task costs the column's task, mean over seeds."""
    mean = 100 * found.costs.mean(axis=0)
    reach = float(np.nanmax(np.abs(mean))) if np.isfinite(mean).any() else 1.0
    text = np.where(np.isfinite(mean), np.vectorize(lambda v: f"{v:.1f}".replace("-", "−"))(np.nan_to_num(mean)), "")
    heat = go.Heatmap(
        z=mean, x=list(found.tasks), y=list(found.tasks), colorscale=_reversed(), zmin=-reach,
        zmax=reach, text=text, texttemplate="%{text}" if len(found.tasks) <= 12 else None, hoverongaps=False,
        xgap=2, ygap=2, colorbar={"title": {"text": f"% {found.unit}"}, "thickness": 14},
        hovertemplate="with %{y}, %{x} pays %{z:.1f} %<extra></extra>",
    )  # fmt: skip
    return go.Figure(heat).update_layout(
        title="Who pays for whom",
        xaxis={"title": "task that pays", "automargin": True},
        yaxis={"title": "task it shares with", "autorange": "reversed", "automargin": True},
        height=max(320, 120 + 42 * len(found.tasks)),
    )


def ladder(found: Forecast, pair: str | None = None) -> go.Figure:
    """The cosine of one pair's gradients in every shared module, at the start and on the way.

    Args:
        pair: "a – b"; the dearest pair by default. Raises ConfigError naming the pairs otherwise.
    """
    names = [f"{row.task_a} – {row.task_b}" for row in rows(found.pairs)]
    ranked = found.pairs.sort_values("cost", ascending=False).index
    if pair is not None and pair not in names:
        raise ConfigError(f"There is no pair '{pair}'. Pairs: {', '.join(names[:20])}.")
    row = found.pairs.loc[ranked[0]] if pair is None else found.pairs.iloc[names.index(pair)]
    mine = found.modules
    mine = mine[(mine["task_a"] == row["task_a"]) & (mine["task_b"] == row["task_b"])]
    order = list(dict.fromkeys(mine["module"]))[-MAX_MODULES:]
    labels = ["all shared" if name == ALL_MODULES else name for name in order]
    figure = go.Figure()
    phases = list(dict.fromkeys(mine["phase"]))
    for phase, colour, symbol in zip(phases, colours(phases).values(), symbols(phases).values(), strict=True):
        part = mine[mine["phase"] == phase].set_index("module").reindex(order)
        value, low, high = (part[key].to_numpy(dtype=float) for key in ("cosine", "low", "high"))
        known = np.isfinite(low) & np.isfinite(high)
        called = part["called"].eq(True).to_numpy()
        figure.add_trace(
            go.Scatter(
                x=value, y=labels, mode="markers", name=phase,
                marker={"color": colour, "symbol": [symbol if c else f"{symbol}-open" for c in called], "size": 11},
                error_x={
                    "type": "data", "symmetric": False, "color": colour,
                    "array": np.where(known, high - value, 0), "arrayminus": np.where(known, value - low, 0),
                },
                hovertemplate="%{y}: %{x:.2f}<extra>" + phase + "</extra>",
            )
        )  # fmt: skip
    figure.add_vline(x=0, line={"color": UNKNOWN, "width": 1})
    return figure.update_layout(
        title=f"Where {row['task_a']} and {row['task_b']} pull apart (filled: a conflict beyond noise)",
        xaxis={"title": "cosine of the two tasks' gradients; below 0: conflict", "range": [-1.15, 1.15]},
        yaxis={"categoryorder": "array", "categoryarray": labels[::-1], "automargin": True},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        height=150 + 30 * max(len(order), 4),
    )


def trajectories(found: Forecast, task: str | None = None) -> go.Figure:
    """Held-out loss of one task alone, with each other task, and with all of them, mean over seeds."""
    task = task or found.tasks[0]
    if task not in found.tasks:
        raise ConfigError(f"There is no task '{task}'. Tasks: {', '.join(found.tasks)}.")
    index, measured = found.tasks.index(task), found.measured
    lines = {"alone": measured.alone[:, :, index]}
    for p, row in enumerate(rows(found.pairs)):
        if task in (row.task_a, row.task_b) and measured.has_pairs:
            side = 0 if row.task_a == task else 1
            lines[f"with {row.task_b if side == 0 else row.task_a}"] = measured.paired[:, :, p, side]
    lines["all together" if len(found.tasks) > 2 else f"with {next(t for t in found.tasks if t != task)}"] = (
        measured.together[:, :, index]
    )
    figure = go.Figure()
    for name, colour in colours(list(lines)).items():
        figure.add_trace(
            go.Scatter(
                x=measured.steps, y=lines[name].mean(axis=0), name=name, mode="lines+markers",
                line={"color": colour, "width": 3 if name == "alone" else 2,
                      "dash": "solid" if name == "alone" else "dash" if name == "all together" else "dot"},
            )
        )  # fmt: skip
    return figure.update_layout(
        title=f"Held-out loss of {task}, mean over {found.n_seeds} seeds",
        xaxis={"title": "optimizer step"},
        yaxis={"title": "held-out loss"},
        height=420,
    )


def _reversed() -> list[tuple[float, object]]:
    """The signed scale turned round: here above 0 is what costs."""
    places = [1 - float(str(place)) for place, _ in DIVERGING]
    return sorted(zip(places, [colour for _, colour in DIVERGING], strict=True))
