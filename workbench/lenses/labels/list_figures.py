"""Figures of label lists: who annotates what, what each loss speaks about, and how well each list is read."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from workbench.lenses.empty_figure import empty
from workbench.lenses.labels.statistics import Labels
from workbench.lenses.palette import CATEGORICAL, SEQUENTIAL, UNKNOWN
from workbench.lenses.words import percent

#: Part of a loss's terms -> colour, pattern of its bar.
PARTS = {"positive": (CATEGORICAL[0], ""), "negative": (CATEGORICAL[5], "/"), "silent": (UNKNOWN, "")}


def lists(stats: Labels) -> go.Figure:
    """Datasets down, all names across: which dataset annotates which label, and how much of its pixels."""
    names = list(dict.fromkeys(label for labels in stats.spaces.values() for label in labels))
    known = stats.annotated.set_index(["dataset", "label"])["share"]
    z = np.full((len(stats.datasets), len(names)), np.nan)
    text = np.full(z.shape, "", dtype=object)
    for row, (dataset, labels) in enumerate(stats.spaces.items()):
        for label in labels:
            share = float(known[dataset, label])
            z[row, names.index(label)] = 0.0 if np.isnan(share) else share
            text[row, names.index(label)] = "yes" if np.isnan(share) else percent(share)
    figure = go.Figure(
        go.Heatmap(
            z=z, x=names, y=list(stats.datasets), zmin=0, colorscale=SEQUENTIAL, xgap=2, ygap=2, text=text,
            texttemplate="%{text}", hovertemplate="%{y} annotates '%{x}': %{text}<extra></extra>",
            colorbar={"title": {"text": "of the dataset's<br>annotation"}, "tickformat": ".0%", "thickness": 14},
        )
    )  # fmt: skip
    figure.update_xaxes(type="category", tickangle=-40, showgrid=False, automargin=True)
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False, automargin=True)
    shared = sum(all(name in labels for labels in stats.spaces.values()) for name in names)
    return figure.update_layout(
        title=f"{len(names)} names in {len(stats.datasets)} lists; {shared} in all of them. Empty: not in the list",
        height=260 + 46 * len(stats.datasets),
    )


def terms(stats: Labels) -> go.Figure:
    """What share of its terms each loss over the union spends on yes, on no, and on silence, by dataset."""
    frame = stats.terms
    labels = [f"{row.dataset}: {row.loss}" for row in frame.itertuples()]
    figure = go.Figure()
    for part, (colour, pattern) in PARTS.items():
        figure.add_bar(
            x=frame[part], y=labels, orientation="h", name=part,
            marker={"color": colour, "pattern": {"shape": pattern, "fillmode": "overlay", "fgopacity": 0.35}},
            text=[percent(value) if value > 0.03 else "" for value in frame[part]], textposition="inside",
            insidetextanchor="middle", hovertemplate=f"%{{y}}<br>{part}: %{{x:.1%}} of all terms<extra></extra>",
        )  # fmt: skip
    figure.update_yaxes(categoryorder="array", categoryarray=labels, autorange="reversed", automargin=True)
    return figure.update_layout(
        title="Of all terms (a pixel, a name), how many say yes, no, or nothing",
        xaxis={"tickformat": ".0%", "range": [0, 1], "title": "share of the terms"},
        barmode="stack", bargap=0.3, height=190 + 36 * len(labels),
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1, "xanchor": "right",
                "traceorder": "normal"},
    )  # fmt: skip


def scoreboard(stats: Labels) -> go.Figure:
    """mIoU of the pictures of every domain (rows) in every label list (columns)."""
    means = stats.scores[stats.scores["label"] == ""]
    if not len(means):
        return empty("No scalars 'mIoU/<pictures>/<label list>' were recorded.")
    grid = means.pivot(index="pictures", columns="labels", values="value")
    order = [name for name in stats.datasets if name in grid.columns]
    columns = [*order, *(name for name in grid.columns if name not in order)]
    rows = [*columns, *(name for name in grid.index if name not in columns)]
    grid = grid.reindex([row for row in rows if row in grid.index], columns=columns)
    figure = go.Figure(
        go.Heatmap(
            z=grid.to_numpy(), x=columns, y=list(grid.index), zmin=0, zmax=1, colorscale=SEQUENTIAL, xgap=3, ygap=3,
            text=[["<br>own list" if row == column else "" for column in columns] for row in grid.index],
            texttemplate="%{z:.1%}%{text}",
            hovertemplate="%{y}'s pictures in %{x}'s labels: mIoU %{z:.1%}<extra></extra>",
            colorbar={"title": {"text": "mIoU"}, "tickformat": ".0%", "thickness": 14},
        )
    )  # fmt: skip
    figure.update_xaxes(title="label list", type="category", side="top", showgrid=False)
    figure.update_yaxes(title="pictures of", type="category", autorange="reversed", showgrid=False, automargin=True)
    return figure.update_layout(
        title=f"Mean IoU at step {int(means['step'].max())}",
        height=190 + 76 * len(grid), margin={"t": 110},
    )  # fmt: skip
