"""Mean cosines of every label's pixels with every output, and the relations that follow from them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from workbench.lenses.empty_figure import empty
from workbench.lenses.labels.statistics import Labels
from workbench.lenses.palette import DIVERGING

NOTHING = (
    "This run did not record the mean cosine of each label's pixels with each output: "
    "Recorder.array('mean_cosines', step, {dataset: S}), with config={'outputs': names}."
)
#: Marks on cells: column of the table -> name, symbol, size, colour.
MARKS = {
    "found": ("found by the rule", "square-open", 19, "#111111"),
    "planted": ("planted: holds in truth", "circle-open", 11, "#009E73"),
    "trained_with": ("trained with", "circle", 5, "#111111"),
}
_CELL, _FRAME = 30, 250


def relatedness_figure(
    stats: Labels, recorded: int | None = None, threshold: float | None = None, dataset: str | None = None
) -> go.Figure:
    """S_ck - S_cc, rows the labels of a dataset, columns the outputs, with the relations at τ marked.

    Args:
        recorded: A step at which S was recorded; where training took its relations by default, else the last.
        threshold: τ; the run's own by default.
        dataset: Only this dataset's labels.
    """
    found = stats.relatedness
    if found is None:
        return empty(NOTHING)
    step = found.shown if recorded is None else recorded
    limit = found.threshold if threshold is None else threshold
    table = found.table(step, limit)
    kept = [name for name in dict.fromkeys(table["dataset"]) if dataset in (None, name)]
    if not kept:
        return empty(f"No mean cosines of '{dataset}' were recorded at step {step}.")
    rows = {name: list(dict.fromkeys(table.loc[table["dataset"] == name, "label"])) for name in kept}
    figure = make_subplots(
        len(kept), 1, shared_xaxes=True, vertical_spacing=0.06, subplot_titles=kept,
        row_heights=[len(labels) for labels in rows.values()],
    )  # fmt: skip
    reach = float(np.abs(table["cosine"] - table["own_cosine"]).max()) or 1.0
    named: set[str] = set()
    for at, name in enumerate(kept, start=1):
        part = table[table["dataset"] == name]
        figure.add_trace(_heat(part, rows[name], found.outputs, reach, at == 1), row=at, col=1)
        for column in (column for column in MARKS if part[column].any()):
            figure.add_trace(_marks(part[part[column]], column, column not in named), row=at, col=1)
            named.add(column)
        figure.update_yaxes(categoryorder="array", categoryarray=rows[name], autorange="reversed", row=at, col=1)
    figure.update_xaxes(
        categoryorder="array", categoryarray=list(found.outputs), type="category", showgrid=False, automargin=True
    )
    figure.update_xaxes(title="output", tickangle=-40, row=len(kept), col=1)
    figure.update_yaxes(type="category", showgrid=False, automargin=True)
    return figure.update_layout(
        title=f"Step {step}, τ = {limit:g}: {_counted(table[table['dataset'].isin(kept)])}",
        height=_FRAME + _CELL * sum(map(len, rows.values())),
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1, "xanchor": "right"},
        margin={"t": 100},
    )


def _counted(table: pd.DataFrame) -> str:
    """How many relations the rule finds, and how many of them hold where that is known."""
    n = int(table["found"].sum())
    words = f"{n} relation{'' if n == 1 else 's'} found"
    if not table["planted"].any():
        return words
    right = int((table["found"] & table["planted"]).sum())
    return (
        f"{words}: {right} of the {int(table['planted'].sum())} planted, and {n - right} other{'s'[n - right == 1 :]}"
    )


def _heat(part: pd.DataFrame, labels: list[str], outputs: tuple[str, ...], reach: float, bar: bool) -> go.Heatmap:
    beyond = part.assign(difference=part["cosine"] - part["own_cosine"])
    grid = beyond.pivot(index="label", columns="related", values="difference").reindex(labels, columns=list(outputs))
    cosine = dict(zip(zip(part["label"], part["related"], strict=True), part["cosine"].tolist(), strict=True))
    own = dict(zip(part["label"], part["own_cosine"].tolist(), strict=True))
    hover = np.array(
        [
            [
                f"own output: mean cosine {own[label]:.2f}"
                if label == name
                else f"mean cosine {cosine[label, name]:.2f}; with the own output {own[label]:.2f}"
                for name in outputs
            ]
            for label in labels
        ]
    )
    z = grid.to_numpy(dtype=float)
    return go.Heatmap(
        z=np.where(np.isnan(z), 0.0, z), x=list(outputs), y=labels, zmin=-reach, zmax=reach, colorscale=DIVERGING,
        xgap=1, ygap=1, customdata=hover, hovertemplate="%{y} on '%{x}'<br>%{customdata}<extra></extra>",
        showscale=bar,
        colorbar={"title": {"text": "mean cosine minus that with the own output", "side": "right"}, "thickness": 14},
    )  # fmt: skip


def _marks(part: pd.DataFrame, column: str, first: bool) -> go.Scatter:
    name, symbol, size, colour = MARKS[column]
    return go.Scatter(
        x=part["related"], y=part["label"], mode="markers", name=name, legendgroup=column, showlegend=first,
        marker={"symbol": symbol, "size": size, "color": colour, "line": {"width": 2, "color": colour}},
        hoverinfo="skip",
    )  # fmt: skip
