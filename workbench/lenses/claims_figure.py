"""Did it hold here? Each claim's difference over paired seeds, with its 95 % interval, against what it must exceed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

from workbench.lenses.palette import LEVEL_COLOURS

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: Verdict on a claim -> colour, symbol.
LOOKS = {
    "holds": (LEVEL_COLOURS["fine"], "circle"),
    "does not hold at this scale": (LEVEL_COLOURS["problem"], "x"),
    "cannot tell": (LEVEL_COLOURS["cannot tell"], "circle-open"),
}
_ROW, _MARGINS, _LINE, _MAX_LINES = 54, 120, 58, 3


@dataclass(frozen=True)
class Measured:
    """A claim as it is drawn. ``low`` and ``high`` are NaN without an interval; all numbers are in ``unit``."""

    words: str
    differences: Sequence[float]
    mean: float
    low: float
    high: float
    margin: float
    unit: str
    answer: str


def claims_figure(claims: Sequence[Measured]) -> go.Figure:
    """One row a claim of one unit: the seeds as dots, their mean with its interval, the margin as a tick."""
    import plotly.graph_objects as go

    fig = go.Figure()
    rows = list(range(len(claims)))
    seeds = [(x, row) for row, claim in zip(rows, claims, strict=True) for x in claim.differences]
    fig.add_scatter(
        x=[x for x, _ in seeds],
        y=[row for _, row in seeds],
        mode="markers",
        name="one seed",
        marker={"color": "rgba(127, 127, 127, 0.6)", "size": 6, "symbol": "line-ns-open"},
        hovertemplate="%{x:.3g}<extra>one seed</extra>",
    )
    for answer, (colour, symbol) in LOOKS.items():
        own = [(row, claim) for row, claim in zip(rows, claims, strict=True) if claim.answer == answer]
        if own:
            fig.add_scatter(
                x=[claim.mean for _, claim in own],
                y=[row for row, _ in own],
                error_x={
                    "symmetric": False,
                    "array": [claim.high - claim.mean for _, claim in own],
                    "arrayminus": [claim.mean - claim.low for _, claim in own],
                    "thickness": 3,
                },
                mode="markers",
                name=answer,
                marker={"color": colour, "size": 11, "symbol": symbol},
                hovertemplate="mean %{x:.3g}<extra>" + answer + "</extra>",
            )
    fig.add_scatter(
        x=[claim.margin for claim in claims],
        y=rows,
        mode="markers",
        name="must be above",
        marker={"symbol": "line-ns-open", "size": 26, "color": LEVEL_COLOURS["watch"], "line": {"width": 2}},
        hovertemplate="must be above %{x:.3g}<extra></extra>",
    )
    unit = claims[0].unit if claims else ""
    fig.update_yaxes(tickvals=rows, ticktext=[_folded(claim.words) for claim in claims], autorange="reversed")
    fig.update_yaxes(showgrid=False, zeroline=False, ticklabelstandoff=8)
    fig.update_xaxes(title=f"method − baseline over paired seeds, {unit}; right of the tick is better", zeroline=True)
    return fig.update_layout(
        title="What was measured here",
        height=_MARGINS + _ROW * max(len(claims), 1),
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 1.0, "xanchor": "right"},
        margin={"t": 60, "b": 50, "l": 20, "r": 20},
    )


def _folded(words: str) -> str:
    lines = wrap(words, _LINE)
    if len(lines) > _MAX_LINES:
        lines = [*lines[: _MAX_LINES - 1], f"{lines[_MAX_LINES - 1][: _LINE - 1]}…"]
    return "<br>".join(lines)
