"""Which parts of the model still move from checkpoint to checkpoint?

A cell is the relative change |after - before| / |before| of one tensor since the checkpoint before, on a logarithmic
scale. A row that stays dark is a part that hardly trains (frozen, or starved of gradient); a row that stays bright long
after the others have settled is one that does not converge. A tensor that starts near zero, such as a bias, moves much
in relative terms without meaning much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.lenses.palette import SEQUENTIAL, UNKNOWN

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: Rows that are drawn: with more tensors, those that moved most in any step.
MOST_ROWS = 40
# A tensor that did not move at all has no place on a logarithmic scale; it is drawn at the end of it.
_SMALLEST = 1e-8


def figure(tensors: pd.DataFrame) -> go.Figure:
    """The changes that :func:`workbench.runs.checkpoint_series.series` returns as its second table."""
    import plotly.graph_objects as go

    wide = tensors.pivot_table(index="tensor", columns="step", values="relative_change", sort=False, aggfunc="last")
    kept = set(wide.max(axis=1).nlargest(MOST_ROWS).index)
    wide = wide[[name in kept for name in wide.index]]
    values = np.log10(np.clip(wide.to_numpy(float), _SMALLEST, None))
    low, high = (float(np.nanmin(values)), float(np.nanmax(values))) if np.isfinite(values).any() else (0.0, 1.0)
    ticks = np.arange(np.floor(low), np.ceil(high) + 1)
    fig = go.Figure(
        go.Heatmap(
            z=values,
            x=[f"{step:,}" for step in wide.columns],
            y=wide.index.to_numpy(object),
            customdata=wide.to_numpy(float),
            colorscale=SEQUENTIAL,
            colorbar={
                "title": "relative<br>change",
                "tickvals": ticks,
                "ticktext": [f"{10**tick:g}" for tick in ticks],
            },
            hovertemplate="%{y}<br>step %{x}: changed by %{customdata:.3g} of its norm<extra></extra>",
        )
    )
    left_out = tensors["tensor"].nunique() - len(wide)
    title = "Change of every tensor since the checkpoint before"
    fig.update_layout(
        title=title + (f" ({len(wide)} that moved most; {left_out} more)" if left_out else ""),
        xaxis={"title": "step", "type": "category"},
        yaxis={"autorange": "reversed", "automargin": True},
        height=160 + 18 * len(wide),
        plot_bgcolor=UNKNOWN,
        margin={"t": 60, "b": 50},
    )
    return fig
