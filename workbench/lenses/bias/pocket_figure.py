"""Where in the embedding the model fails, and how surely; draws what :mod:`pockets` found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from workbench.lenses.bias.statistics import Bias
from workbench.lenses.palette import CATEGORICAL, SYMBOLS, UNKNOWN, faded

#: Samples drawn in the map, at most; those in pockets always.
MAX_DRAWN = 2500


def has_embeddings(stats: Bias) -> bool:
    return stats.pockets is not None and len(stats.pockets.found) > 0


def pockets(stats: Bias) -> go.Figure:
    """The first two components of the embedding with the pockets, and each pocket's value beside the rest's."""
    if stats.pockets is None or not len(stats.pockets.found):
        return go.Figure().update_layout(title="No embedding of these samples was recorded, or nothing stands out.")
    found = stats.pockets
    fig = make_subplots(
        cols=2,
        column_widths=[0.55, 0.45],
        horizontal_spacing=0.2,
        subplot_titles=(f"{found.layer}, step {found.step}: first two components", "On samples the search never saw"),
    )
    others = found.points[found.points["pocket"] == 0]
    others = others.iloc[:: max(1, len(others) // MAX_DRAWN)]
    fig.add_scattergl(
        x=others["x"], y=others.get("y", np.zeros(len(others))), mode="markers", name="in no pocket",
        marker={"color": faded(UNKNOWN, 0.35), "size": 4}, customdata=others["sample"], row=1, col=1,
        hovertemplate="sample %{customdata}<extra></extra>",
    )  # fmt: skip
    names = []
    for at, row in enumerate(found.found.to_dict("records")):
        colour = CATEGORICAL[at % len(CATEGORICAL)]
        symbol = SYMBOLS[at % len(SYMBOLS)] if row["confirmed"] else f"{SYMBOLS[at % len(SYMBOLS)]}-open"
        own = found.points[found.points["pocket"] == row["pocket"]]
        names.append(f"{row['pocket']}  {row['typical'] or 'no level stands out'} (n = {row['n']})")
        fig.add_scattergl(
            x=own["x"], y=own.get("y", np.zeros(len(own))), mode="markers", name=f"pocket {row['pocket']}",
            marker={"color": colour, "size": 7, "symbol": symbol}, customdata=own["sample"], showlegend=False,
            hovertemplate=f"pocket {row['pocket']}, sample %{{customdata}}<extra></extra>", row=1, col=1,
        )  # fmt: skip
        fig.add_scatter(
            x=[row["value"]], y=[names[-1]], mode="markers", showlegend=False,
            marker={"color": colour, "size": 12, "symbol": symbol},
            error_x={"type": "data", "symmetric": False, "array": [row["high"] - row["value"]],
                     "arrayminus": [row["value"] - row["low"]], "color": colour, "thickness": 2, "width": 0},
            hovertemplate=_told(row), row=1, col=2,
        )  # fmt: skip
    rest = float(found.found["rest"].iloc[0])
    fig.add_vline(x=rest, line={"color": UNKNOWN, "dash": "dot"}, annotation_text="all others", row=1, col=2)
    fig.update_yaxes(range=[len(names) - 0.4, -0.6], automargin=True, row=1, col=2)
    fig.update_xaxes(title=stats.measured.title, tickformat=".0%" if stats.share else None, row=1, col=2)
    fig.update_xaxes(title="component 1", zeroline=False, row=1, col=1)
    fig.update_yaxes(title="component 2", zeroline=False, row=1, col=1)
    return fig.update_layout(
        title="Neighbourhoods in which the model fails; filled: confirmed",
        height=470,
        legend={"orientation": "h", "y": -0.2},
    )


def _told(row: Mapping[Any, Any]) -> str:
    words = f"level alone as bad: {'yes' if row['described'] else 'no'}"
    return f"%{{x:.3g}}, q = {row['q']:.2g}<br>{words}<extra></extra>"
