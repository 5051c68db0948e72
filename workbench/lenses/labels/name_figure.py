"""How alike the names of two label lists are, where nothing else is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from workbench.lenses.labels.relations import SAME_NAME
from workbench.lenses.palette import SEQUENTIAL

if TYPE_CHECKING:
    import plotly.graph_objects as go


def name_matrix(relations: pd.DataFrame, dataset_a: str, dataset_b: str) -> go.Figure:
    """Rows and columns are two datasets' labels, a cell the likeness of their names in [0, 1]; 1 is the same words.

    Columns stand beside the row whose name is most like theirs. Pairs that a merge by name would take are written out.

    Args:
        relations: As of :func:`relations.by_names`, the two datasets among them in either order.
    """
    import plotly.graph_objects as go

    part = relations[(relations["dataset_a"] == dataset_a) & (relations["dataset_b"] == dataset_b)]
    first, second = ("label_a", "label_b") if len(part) else ("label_b", "label_a")
    if not len(part):
        part = relations[(relations["dataset_a"] == dataset_b) & (relations["dataset_b"] == dataset_a)]
    table = part.pivot(index=first, columns=second, values="name_similarity")
    table = table.loc[list(dict.fromkeys(part[first])), list(dict.fromkeys(part[second]))]
    homes = table.to_numpy().argmax(axis=0)
    table = table.iloc[:, homes.argsort(kind="stable")]
    text = table.map(lambda value: f"{value:.1f}".lstrip("0") if value >= SAME_NAME else "")
    fig = go.Figure(
        go.Heatmap(
            z=table.to_numpy(), x=list(table.columns), y=list(table.index), zmin=0, zmax=1, colorscale=SEQUENTIAL,
            text=text.to_numpy(), texttemplate="%{text}", xgap=1, ygap=1, colorbar_title="likeness",
            hovertemplate="'%{y}' and '%{x}': %{z:.2f}<extra></extra>",
        )
    )  # fmt: skip
    fig.update_xaxes(type="category", tickangle=-45, automargin=True, title=dataset_b, showgrid=False)
    fig.update_yaxes(type="category", autorange="reversed", automargin=True, title=dataset_a, showgrid=False)
    side = 26 if len(table) <= 24 else 18
    return fig.update_layout(
        title=f"How alike the names of {dataset_a} and {dataset_b} are", height=230 + side * len(table)
    )
