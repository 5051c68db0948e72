"""What each loss would teach the output of every label; draws what :mod:`union` counted."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from workbench.lenses.labels.statistics import Labels
from workbench.lenses.palette import CATEGORICAL, UNKNOWN
from workbench.lenses.words import percent


def lesson_figure(stats: Labels, dataset: str | None = None) -> go.Figure:
    """Wrong share under a softmax and under binary losses, and what relations add, one row a label.

    Args:
        dataset: Only this dataset's labels.
    """
    rows = stats.lessons if dataset is None else stats.lessons[stats.lessons["dataset"] == dataset]
    rows = rows[rows["wrong"].notna()].reset_index(drop=True)
    if not len(rows):
        return go.Figure().update_layout(title="No dataset's head was run on another dataset's samples.")
    names = [f"{row.dataset}: {row.label}" for row in rows.itertuples()]
    fig = make_subplots(
        cols=2,
        shared_yaxes=True,
        column_widths=[0.68, 0.32],
        horizontal_spacing=0.03,
        subplot_titles=("Share of a label's lessons that are wrong", "Added by relations"),
    )
    wrong = rows["wrong"].to_numpy()
    limits = {"array": rows["high"].to_numpy() - wrong, "arrayminus": wrong - rows["low"].to_numpy()}
    told = [
        f"taught by {row.taught:.3g} a sample, opposed by {row.opposed:.3g} in {row.other}; "
        f"its head errs by {row.at_home:.3g} at home"
        for row in rows.itertuples()
    ]
    fig.add_scatter(
        x=wrong, y=names, mode="markers", name="softmax over all labels", customdata=told,
        marker={"color": CATEGORICAL[5], "symbol": "diamond", "size": 11},
        error_x={"type": "data", "symmetric": False, "color": CATEGORICAL[5], "thickness": 2, "width": 0, **limits},
        hovertemplate="%{y}: %{x:.0%} wrong<br>%{customdata}<extra></extra>", row=1, col=1,
    )  # fmt: skip
    fig.add_scatter(
        x=rows["wrong_per_class"], y=names, mode="markers", name="one binary loss a class",
        marker={"color": CATEGORICAL[0], "symbol": "circle-open", "size": 11, "line": {"width": 2}},
        hovertemplate="%{y}: %{x:.0%} wrong<extra></extra>", row=1, col=1,
    )  # fmt: skip
    gain = np.divide(rows["extra"], rows["taught"], out=np.zeros(len(rows)), where=rows["taught"] > 0)
    fig.add_bar(
        x=gain, y=names, orientation="h", name="class-relational loss", width=0.5, showlegend=False,
        marker_color=CATEGORICAL[2], text=[f"+{percent(value)}" if value > 0 else "" for value in gain],
        textposition="auto", cliponaxis=False, hovertemplate="%{y}: +%{x:.0%} right lessons<extra></extra>",
        row=1, col=2,
    )  # fmt: skip
    fig.update_xaxes(tickformat=".0%", zeroline=False, rangemode="tozero")
    fig.update_xaxes(title="wrong share, with 95 % limits", range=[-0.02, 1.02], row=1, col=1)
    fig.update_xaxes(title="extra right lessons", range=[0, max(1.25 * float(gain.max()), 0.1)], row=1, col=2)
    fig.update_yaxes(categoryorder="array", categoryarray=names, range=[len(names) - 0.4, -0.6], automargin=True)
    fig.add_vline(x=0.5, line={"color": UNKNOWN, "dash": "dot", "width": 1}, row=1, col=1)
    return fig.update_layout(
        title="What a loss over the union of labels would teach",
        height=210 + 26 * len(names),
        legend={"orientation": "h", "y": -80 / (60 + 26 * len(names)), "yanchor": "top", "x": 0},
        margin={"t": 80},
    )
