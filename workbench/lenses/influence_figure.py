"""Which training groups help a group of samples and which hurt it, method beside method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.lenses.palette import DIVERGING, UNKNOWN, faded

if TYPE_CHECKING:
    import plotly.graph_objects as go

HARM, HELP = str(DIVERGING[0][1]), str(DIVERGING[-1][1])
#: Training groups shown at most: the most harmful ones, and as the last of them the most helpful.
ROWS = 14
#: Height of a row, and of all that stands around the rows, in pixels.
ROW, AROUND = 26, 92


def influence_figure(tables: Mapping[str, pd.DataFrame], group: str) -> go.Figure:
    """A panel a method; a row a training group, the most harmful by the first method on top.

    Orange hurts, blue helps: the interval misses 0 and the mean over all training samples (dotted) on one side; pale
    where it misses only that mean. The dot is the mean influence of a sample of the group, the line its 95 % interval.

    Args:
        tables: Method -> columns source, group, n, total, mean, low, high, usual, the last four in the
            unit that the name says, e.g. "TracIn [micro-nats]".
        group: Whose loss it is about.
    """
    from plotly.subplots import make_subplots

    parts = {name: table[table["group"] == group].set_index("source") for name, table in tables.items()}
    order = _order(next(iter(parts.values())))
    fig = make_subplots(1, len(parts), shared_yaxes=True, horizontal_spacing=0.04, subplot_titles=list(parts))
    for column, part in enumerate(parts.values(), start=1):
        fig.add_trace(_dots(part.loc[order]), row=1, col=column)
        fig.add_vline(x=0, line={"color": UNKNOWN, "width": 1}, row=1, col=column)
        usual = float(part["usual"].iloc[0])
        fig.add_vline(x=usual, line={"color": UNKNOWN, "width": 1, "dash": "dot"}, row=1, col=column)
    counts = next(iter(parts.values())).loc[order, "n"]
    fig.update_yaxes(
        autorange="reversed", type="category", tickvals=order,
        ticktext=[f"{name}  ({n:,})" for name, n in counts.items()],
    )  # fmt: skip
    fig.update_yaxes(automargin=True, col=1)
    fig.update_xaxes(zeroline=False, exponentformat="none")
    fig.update_layout(
        height=AROUND + ROW * len(order), margin={"l": 8, "r": 12, "t": 32, "b": 36}, showlegend=False, hovermode="y"
    )
    fig.update_xaxes(title_text="← hurts · helps →")
    return fig


def _order(part: pd.DataFrame) -> list[str]:
    ranked = [str(name) for name in part.sort_values("mean").index]
    return ranked if len(ranked) <= ROWS else [*ranked[: ROWS - 1], ranked[-1]]


def _dots(part: pd.DataFrame) -> go.Scatter:
    import plotly.graph_objects as go

    hurts, helps = part["high"] < part["usual"].clip(upper=0), part["low"] > part["usual"].clip(lower=0)
    less, more = part["high"] < part["usual"], part["low"] > part["usual"]
    kinds = {HARM: hurts, HELP: helps, faded(HARM, 0.45): less, faded(HELP, 0.45): more}
    colours = np.select(list(kinds.values()), list(kinds), UNKNOWN)
    return go.Scatter(
        x=part["mean"],
        y=part.index,
        mode="markers",
        marker={"color": colours, "size": 9},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": part["high"] - part["mean"],
            "arrayminus": part["mean"] - part["low"],
            "color": UNKNOWN,
            "thickness": 1.5,
            "width": 3,
        },
        customdata=np.stack([part["n"], part["total"], part["low"], part["high"]], axis=1),
        hovertemplate=(
            "%{y}: %{x:.3g} a sample [%{customdata[2]:.3g}, %{customdata[3]:.3g}]<br>"
            "%{customdata[0]:,} samples, together %{customdata[1]:.3g}<extra></extra>"
        ),
    )
