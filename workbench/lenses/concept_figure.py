"""Which concepts raise a class's logit, and which lower it, beside what random concepts do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.lenses.palette import DIVERGING, UNKNOWN, faded

if TYPE_CHECKING:
    import plotly.graph_objects as go

LOWERS, RAISES = str(DIVERGING[0][1]), str(DIVERGING[-1][1])


def concept_figure(table: pd.DataFrame, answer: str) -> go.Figure:
    """A row a concept: a dot for its score, a line over its random halves, a grey band for random concepts.

    Args:
        table: Columns concept, score, low, high (range over halves), random_low, random_high, accuracy, q_value.
            Scores whose q value is above 0.05 are grey.
        answer: The class whose logit it is about, in words.
    """
    import plotly.graph_objects as go

    rows = table.sort_values("score", ascending=False)
    called = rows["q_value"] <= 0.05
    colours = np.where(~called, UNKNOWN, np.where(rows["score"] < 0.5, LOWERS, RAISES))
    fig = go.Figure()
    fig.add_bar(
        base=rows["random_low"], x=rows["random_high"] - rows["random_low"], y=rows["concept"], orientation="h",
        width=0.5, marker={"color": faded(UNKNOWN, 0.25)}, hoverinfo="skip",
    )  # fmt: skip
    fig.add_scatter(
        x=rows["score"],
        y=rows["concept"],
        mode="markers",
        marker={"color": colours, "size": 10},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": (rows["high"] - rows["score"]).clip(lower=0),
            "arrayminus": (rows["score"] - rows["low"]).clip(lower=0),
            "color": UNKNOWN,
            "thickness": 1.5,
            "width": 3,
        },
        customdata=rows[["q_value", "accuracy"]],
        hovertemplate="%{y}: %{x:.2f}<br>q = %{customdata[0]:.3f}, told apart with accuracy %{customdata[1]:.2f}"
        "<extra></extra>",
    )
    fig.add_vline(x=0.5, line={"color": UNKNOWN, "width": 1})
    fig.update_yaxes(autorange="reversed", type="category", automargin=True)
    fig.update_xaxes(
        range=[-0.03, 1.03], zeroline=False, title_text=f"← lowers · share of samples whose logit of {answer} rises →"
    )
    fig.update_layout(
        height=80 + 28 * len(rows), margin={"l": 8, "r": 12, "t": 12, "b": 36}, showlegend=False, barmode="overlay"
    )
    return fig
