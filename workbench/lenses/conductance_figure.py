"""Through which units of a layer the tasks' answers come, task beside task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Float

from workbench.core.gramian import student95
from workbench.lenses.palette import DIVERGING, UNKNOWN

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: Units shown at most: those that carry most, in any task.
UNITS = 40
RAISES, LOWERS = str(DIVERGING[-1][1]), str(DIVERGING[0][1])


def unit_table(values: Mapping[str, Float[np.ndarray, "N U"]]) -> pd.DataFrame:
    """Task, unit, mean over samples with Student's 95 % interval (NaN for one sample), and n; in logits."""
    rows = []
    for task, found in values.items():
        n = len(found)
        mean = found.mean(axis=0)
        half = student95(n - 1) * found.std(axis=0, ddof=1) / n**0.5 if n > 1 else np.full(len(mean), np.nan)
        for unit, (centre, width) in enumerate(zip(mean, half, strict=True)):
            rows.append((task, unit, centre, centre - width, centre + width, n))
    return pd.DataFrame(rows, columns=["task", "unit", "mean", "low", "high", "n"])


def conductance_figure(table: pd.DataFrame) -> go.Figure:
    """A row a task, a bar a unit: what flows through it, in logits, with its 95 % interval over samples.

    Units stand in one order for all tasks: by the largest size of the mean in any task. Grey bars have an interval that
    holds 0.

    Args:
        table: As of :func:`unit_table`.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    order = table.assign(size=table["mean"].abs()).groupby("unit")["size"].max().sort_values(ascending=False)
    units = order.index[:UNITS].tolist()
    tasks = list(dict.fromkeys(table["task"]))
    panel = 130 if len(tasks) > 2 else 170
    height = len(tasks) * (panel + 30) + 50
    fig = make_subplots(
        len(tasks), 1, shared_xaxes=True, subplot_titles=tasks, vertical_spacing=30 / height if len(tasks) > 1 else 0
    )
    for row, task in enumerate(tasks, start=1):
        part = table[table["task"] == task].set_index("unit").loc[units]
        colours = np.where(part["low"] > 0, RAISES, np.where(part["high"] < 0, LOWERS, UNKNOWN))
        fig.add_trace(
            go.Bar(
                x=[str(unit) for unit in units],
                y=part["mean"],
                marker={"color": colours},
                error_y={
                    "type": "data",
                    "array": (part["high"] - part["mean"]).fillna(0),
                    "color": UNKNOWN,
                    "thickness": 1,
                    "width": 2,
                },
                customdata=part[["low", "high"]],
                hovertemplate="unit %{x}: %{y:.2f} logits [%{customdata[0]:.2f}, %{customdata[1]:.2f}]<extra></extra>",
            ),
            row=row,
            col=1,
        )
    fig.update_layout(height=height, margin={"l": 8, "r": 12, "t": 28, "b": 40}, showlegend=False, bargap=0.25)
    fig.update_xaxes(type="category", showgrid=False)
    fig.update_xaxes(title_text="unit of the layer, the largest first", row=len(tasks))
    fig.update_yaxes(title_text="logits", automargin=True)
    return fig
