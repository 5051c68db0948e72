"""Parts that several figures of the bias lens share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from workbench.lenses.bias.statistics import Bias
from workbench.lenses.bias.words import range_text, value_text
from workbench.lenses.palette import UNKNOWN, faded
from workbench.lenses.words import count

#: Colour and marker of a group by what is known about it.
STATES = {
    "worse than the rest": ("#D55E00", "circle"),
    "better than the rest": ("#0072B2", "diamond"),
    "no difference shown": (UNKNOWN, "circle-open"),
    "too few samples to test": (UNKNOWN, "x-thin-open"),
}
ROW_HEIGHT = 30


def dots(stats: Bias, rows: pd.DataFrame, labels: list[str], name: str, colour: str, symbol: str) -> go.Scatter:
    value = rows["value"].to_numpy()
    return go.Scatter(
        x=value,
        y=labels,
        mode="markers",
        name=name,
        marker={"color": colour, "symbol": symbol, "size": 11, "line": {"width": 2, "color": colour}},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": rows["high"].to_numpy() - value,
            "arrayminus": value - rows["low"].to_numpy(),
            "color": colour,
            "thickness": 2,
            "width": 0,
        },
        customdata=[_hover(stats, row) for _, row in rows.iterrows()],
        hovertemplate="%{customdata}<extra></extra>",
    )


def _hover(stats: Bias, row: pd.Series) -> str:
    lines = [
        f"<b>{row['group']}</b>",
        f"{metric_name(stats)} {value_text(row['value'], stats.share)} "
        f"(95 % interval {range_text(row['low'], row['high'], stats.share)})",
        f"{count(row['n'])} samples",
        f"all other samples: {value_text(row['rest'], stats.share)}",
    ]
    if row["tested"]:
        lines.append(f"corrected p = {row['q']:.2g}")
    return "<br>".join(lines)


def curve(
    figure: go.Figure, rows: pd.DataFrame, name: str, colour: str, symbol: str, dash: str = "solid", band: bool = True
) -> None:
    """Draw step, value, low and high as a line with a band."""
    rows = rows.sort_values("step")
    if band and len(rows) > 1:
        figure.add_trace(
            go.Scatter(
                x=np.concatenate([rows["step"], rows["step"][::-1]]),
                y=np.concatenate([rows["high"], rows["low"][::-1]]),
                mode="lines",
                fill="toself",
                fillcolor=faded(colour, 0.16),
                line={"width": 0},
                hoverinfo="skip",
                showlegend=False,
                legendgroup=name,
            )
        )
    figure.add_trace(
        go.Scatter(
            x=rows["step"],
            y=rows["value"],
            mode="lines+markers",
            name=name,
            legendgroup=name,
            line={"color": colour, "width": 2.5, "dash": dash},
            marker={"symbol": symbol, "size": 8, "color": colour},
        )
    )


def overall_line(figure: go.Figure, stats: Bias) -> None:
    figure.add_vline(x=stats.overall, line={"color": UNKNOWN, "width": 1.5, "dash": "dot"})
    figure.add_annotation(
        x=stats.overall,
        y=1,
        yref="paper",
        yanchor="bottom",
        text=f"all samples {value_text(stats.overall, stats.share)}",
        showarrow=False,
    )


def rows_layout(
    figure: go.Figure, labels: list[str], title: str, xaxis: dict[str, Any], row_height: int = ROW_HEIGHT
) -> go.Figure:
    """One row a label from the top, a legend below, room for the title."""
    return figure.update_layout(
        title=title,
        xaxis={"zeroline": False} | xaxis,
        yaxis={
            "categoryorder": "array",
            "categoryarray": labels,
            "range": [len(labels) - 0.4, -0.6],
            "automargin": True,
            "showgrid": False,
            "title": "",
        },
        height=190 + row_height * len(labels),
        legend={"orientation": "h", "y": -70 / (30 + row_height * len(labels)), "yanchor": "top", "x": 0},
        bargap=0.3,
    )


def metric_axis(stats: Bias) -> dict[str, Any]:
    """Title and ticks of an axis that shows the metric."""
    return {"title": metric_name(stats)} | percent_ticks(stats.share)


def metric_name(stats: Bias) -> str:
    return stats.measured.title


def percent_ticks(proportion: bool) -> dict[str, Any]:
    return {"tickformat": ".0%"} if proportion else {}
