"""Pictures of forecasts that were put to the test. They draw tables and compute nothing but the places of marks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Float

from workbench.forecast.figures import CALLS
from workbench.lenses.palette import UNKNOWN, colours, symbols

#: Costs and forecasts span a factor of a hundred on both sides of 0: axes are linear up to about this and logarithmic
#: beyond (inverse hyperbolic sine), in points and in %.
LINEAR_COST, LINEAR_FORECAST = 2.0, 5.0
COST_TICKS = (-50, -20, -10, -5, -2, 0, 2, 5, 10, 20, 50, 100, 200)
FORECAST_TICKS = (-50, -20, -10, -5, 0, 5, 10, 20, 50, 100, 200)
#: Misses that are named in the figure; the table names all.
NAMED = 6


def against(table: pd.DataFrame, misses: pd.DataFrame) -> go.Figure:
    """Forecast against realised cost of every problem, with 95 % intervals, calls, and misses ringed.

    Args:
        table: Of :func:`workbench.forecast.truth.table.problems`.
        misses: Of :func:`workbench.forecast.truth.statistics.misses`.
    """
    figure = go.Figure()
    for call, (colour, symbol) in CALLS.items():
        part = table[table["call"] == call]
        if len(part) == 0:
            continue
        figure.add_trace(
            go.Scatter(
                x=_bent(100 * part["forecast"], LINEAR_FORECAST), y=_bent(part["cost"], LINEAR_COST),
                mode="markers", name=call, marker={"color": colour, "symbol": symbol, "size": 10, "line_width": 2},
                error_x=_bars(100 * part[["forecast", "forecast_low", "forecast_high"]], LINEAR_FORECAST, colour),
                error_y=_bars(part[["cost", "cost_low", "cost_high"]], LINEAR_COST, colour),
                customdata=np.stack([part["problem"], 100 * part["forecast"], part["cost"]], axis=1),
                hovertemplate="%{customdata[0]}<br>forecast %{customdata[1]:.1f} %, cost %{customdata[2]:.1f} points"
                f"<extra>{call}</extra>",
            )
        )  # fmt: skip
    _ring(figure, misses)
    figure.add_hline(y=0, line={"color": UNKNOWN, "width": 1})
    figure.add_vline(x=0, line={"color": UNKNOWN, "width": 1})
    return figure.update_layout(
        title="What was forecast, and what sharing then cost",
        xaxis=_axis("forecast in % of the loss at the start; negative: a gain", FORECAST_TICKS, LINEAR_FORECAST),
        yaxis=_axis("realised cost in points of the score", COST_TICKS, LINEAR_COST),
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        height=620,
    )


def correlations(found: pd.DataFrame) -> go.Figure:
    """Rank correlation of every forecaster with the cost, with 95 % intervals: pairs, larger sets, and all.

    Args:
        found: Of :func:`workbench.forecast.truth.statistics.correlations`.
    """
    names = list(dict.fromkeys(found["on"]))
    forecasters = list(dict.fromkeys(found["forecaster"]))[::-1]
    figure = go.Figure()
    for k, on in enumerate(names):
        part = found[found["on"] == on].set_index("forecaster").loc[forecasters]
        figure.add_trace(
            go.Scatter(
                x=part["value"], y=np.arange(len(forecasters)) + 0.2 * (len(names) / 2 - 0.5 - k), mode="markers",
                name=f"{on} ({part['n'].iloc[0]})", marker={"color": colours(names)[on], "symbol": symbols(names)[on],
                "size": 11},
                error_x=_between(part, colours(names)[on]),
                customdata=np.stack([part["low"], part["high"]], axis=1),
                hovertemplate="%{x:.2f} (%{customdata[0]:.2f} to %{customdata[1]:.2f})<extra>" + on + "</extra>",
            )
        )  # fmt: skip
    figure.add_vline(x=0, line={"color": UNKNOWN, "width": 1})
    return figure.update_layout(
        title="Who orders the problems as the trainings do",
        xaxis={"title": "Spearman's rank correlation with the realised cost", "range": [-1.05, 1.05]},
        yaxis={"tickvals": list(range(len(forecasters))), "ticktext": forecasters, "automargin": True, "title": ""},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        height=160 + 70 * len(forecasters),
    )


def lengths(found: pd.DataFrame, training: int) -> go.Figure:
    """Rank correlation with the cost of pairs against the length of the probe.

    Args:
        found: Of :func:`workbench.forecast.truth.statistics.by_length`.
        training: Steps of the training that is forecast.
    """
    colour = colours(["forecast"])["forecast"]
    curve = go.Scatter(
        x=100 * found["steps"] / training, y=found["value"], mode="lines+markers", name="this forecast",
        error_y=_between(found, colour), marker={"color": colour, "size": 9},
        hovertemplate="after %{x:.0f} % of the training: %{y:.2f}<extra></extra>",
    )  # fmt: skip
    figure = go.Figure(curve)
    figure.add_hline(y=0, line={"color": UNKNOWN, "width": 1})
    return figure.update_layout(
        title="How long does a probe have to be?",
        xaxis={"title": f"length of the probe in % of the training's {training} steps", "rangemode": "tozero"},
        yaxis={"title": "Spearman's rank correlation, pairs", "range": [-0.8, 1.05]},
        height=420,
    )


def _ring(figure: go.Figure, misses: pd.DataFrame) -> None:
    if len(misses) == 0:
        return
    x, y = _bent(100 * misses["forecast"], LINEAR_FORECAST), _bent(misses["cost"], LINEAR_COST)
    named = [f"{n + 1}" if n < NAMED else "" for n in range(len(misses))]
    figure.add_trace(
        go.Scatter(
            x=x, y=y, mode="markers+text", name="miss", text=named, textposition="top right",
            marker={"symbol": "circle-open", "size": 20, "color": "#C4320A", "line": {"width": 2}},
            customdata=np.stack([misses["kind"], misses["problem"]], axis=1),
            hovertemplate="%{customdata[0]}: %{customdata[1]}<extra></extra>",
        )
    )  # fmt: skip
    lines = [f"{n + 1}: {row.problem}" for n, row in enumerate(misses.head(NAMED).itertuples())]
    figure.add_annotation(
        text="<br>".join(lines),
        xref="paper",
        yref="paper",
        x=0.99,
        y=0.02,
        showarrow=False,
        align="left",
        xanchor="right",
        yanchor="bottom",
        font={"size": 11},
    )


def _bent(values: pd.Series | np.ndarray, linear: float) -> Float[np.ndarray, " N"]:
    return np.arcsinh(np.asarray(values, dtype=float) / linear)


def _bars(limits: pd.DataFrame, linear: float, colour: str) -> dict[str, object]:
    """Error bars on a bent axis, of columns value, low, high."""
    value, low, high = (_bent(limits.iloc[:, k], linear) for k in range(3))
    known = np.isfinite(low) & np.isfinite(high)
    return {
        "type": "data", "symmetric": False, "color": colour, "thickness": 1, "width": 0,
        "array": np.where(known, high - value, 0), "arrayminus": np.where(known, value - low, 0),
    }  # fmt: skip


def _between(part: pd.DataFrame, colour: str) -> dict[str, object]:
    up, down = part["high"] - part["value"], part["value"] - part["low"]
    return {"type": "data", "symmetric": False, "color": colour, "array": up.fillna(0), "arrayminus": down.fillna(0)}


def _axis(title: str, ticks: Sequence[float], linear: float) -> dict[str, object]:
    places = _bent(np.array(ticks, dtype=float), linear)
    words = [f"{tick:g}".replace("-", "−") for tick in ticks]
    return {"title": title, "tickvals": places.tolist(), "ticktext": words, "zeroline": False}
