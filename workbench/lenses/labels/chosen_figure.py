"""What chosen samples are annotated with, beside all samples of their dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from workbench.lenses import palette
from workbench.lenses.empty_figure import empty

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: Labels that are drawn, those that differ most.
MAX_LABELS = 16


def chosen_labels(found: pd.DataFrame, limit: int = MAX_LABELS) -> go.Figure:
    """Share of every label in the annotation of chosen samples (filled) and of all samples (open).

    Args:
        found: See :func:`workbench.lenses.makeup.annotated`.
    """
    import plotly.graph_objects as go

    if found.empty:
        return empty("None of the selected samples has an annotation here.")
    differing = (found["share"] - found["share_all"]).abs().argsort()[::-1]
    rows = found.iloc[sorted(differing[:limit])]
    names = [f"{row.label} ({row.dataset})" for row in rows.itertuples()]
    chosen, everything = 100 * rows["share"].to_numpy(), 100 * rows["share_all"].to_numpy()
    fig = go.Figure()
    for name, before, after in zip(names, everything, chosen, strict=True):
        fig.add_scatter(
            x=[before, after], y=[name, name], mode="lines", line={"color": palette.UNKNOWN, "width": 2},
            showlegend=False, hoverinfo="skip",
        )  # fmt: skip
    looks = (("all samples", everything, "circle-open", palette.UNKNOWN),
             ("selection", chosen, "diamond", palette.CATEGORICAL[3]))  # fmt: skip
    for title, values, symbol, colour in looks:
        fig.add_scatter(
            x=values, y=names, mode="markers", name=title, customdata=rows["n"].to_numpy(),
            marker={"symbol": symbol, "size": 10, "color": colour, "line": {"width": 2}},
            hovertemplate="%{y}: %{x:.1f} % of the annotation of " + title
            + ("; in %{customdata:,} selected samples" if title == "selection" else "") + "<extra></extra>",
        )  # fmt: skip
    n_left = len(found) - len(rows)
    note = "Counted, not estimated: shares of the annotated weight (pixels, boxes or labels) within each dataset"
    note += f"; {n_left} labels that differ less are left out" if n_left else ""
    return fig.update_layout(
        title={"text": "What the selected samples are annotated with", "subtitle": {"text": note}},
        xaxis={"title": "share of the dataset's annotation, %", "rangemode": "tozero"},
        yaxis={"autorange": "reversed", "automargin": True, "type": "category"},
        height=max(260, 150 + 26 * len(rows)), margin={"l": 20, "r": 20, "t": 90, "b": 20},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1, "xanchor": "right"},
    )  # fmt: skip
