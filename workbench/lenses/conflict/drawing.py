"""Parts that several figures of the conflict lens share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from workbench.core import ConfigError
from workbench.core.schema import ALL_MODULES
from workbench.lenses.conflict.estimates import ALIGNED, BELOW_NOISE, CONFLICT, MISSING, STATES, UNDETERMINED, Estimate
from workbench.lenses.conflict.statistics import Conflict
from workbench.lenses.palette import DIVERGING, UNKNOWN

#: Colour and marker by state; colour alone never carries it.
STATE_STYLE = {
    CONFLICT: ("#D55E00", "triangle-down"),
    ALIGNED: ("#2B83C6", "circle"),
    UNDETERMINED: (UNKNOWN, "circle-open"),
    BELOW_NOISE: (UNKNOWN, "x-thin-open"),
}
#: Fill and hatch of cells without a call, the same on light and on dark ground.
UNDETERMINED_FILL, HATCH, NOISE_FILL = "#D4D4D4", "#8F8F8F", "#6B6B6B"
#: Intervals drawn on top of those fills.
WHISKER = "#1B1B1B"
#: Most cells across in which a number can still be read.
READABLE_CELLS = 9
MINUS = "\u2212"
ONE_TASK = "One task alone: there is no pair to compare."
#: Rows that fit a figure; the table holds the rest.
MAX_ROWS = 30
#: Beyond so many recorded steps, single steps are drawn without their own error bars.
MAX_BARS = 120


def number(value: float, digits: int = 2) -> str:
    """A signed number with a real minus sign; "?" for NaN."""
    if np.isnan(value):
        return "?"
    if np.isinf(value):
        return f"{MINUS}∞" if value < 0 else "∞"
    text = f"{value:.{digits}f}"
    text = text.lstrip("-") if float(text) == 0 else text
    return text.replace("-", MINUS)


def interval(low: float, high: float) -> str:
    """An interval of a cosine in words."""
    if not np.isfinite(low) or not np.isfinite(high):
        return "no interval"
    return f"{number(low)} to {number(high)}"


def describe(value: float, low: float, high: float, state: int) -> str:
    """One estimate for the hover text."""
    if state in (BELOW_NOISE, MISSING):
        return STATES[state]
    return f"cosine {number(value)} (95 % interval {interval(low, high)}): {STATES[state]}"


def module_index(stats: Conflict, module: str | None) -> int:
    """Position of a module; all of them together by default. Raises ConfigError naming the modules otherwise."""
    if module is None:
        return stats.total
    if module not in stats.modules:
        raise ConfigError(f"No gradients were recorded for module '{module}'. Modules: {', '.join(stats.modules)}.")
    return stats.modules.index(module)


def pair_index(stats: Conflict, pair: str | None) -> int:
    """Position of a pair of tasks by its name; the one with the most evidence of conflict by default.

    Raises ConfigError naming the pairs otherwise.
    """
    if pair is None:
        return stats.worst_pair
    names = stats.pair_names
    if pair not in names:
        raise ConfigError(f"There is no pair '{pair}'. Pairs: {', '.join(names[:20])}.")
    return names.index(pair)


def short(name: str, longest: int = 26) -> str:
    """A module or pair name that fits beside an axis: the end is what tells modules apart."""
    if name == ALL_MODULES:
        return "all shared"
    return name if len(name) <= longest else "…" + name[-(longest - 1) :]


def grid(
    estimate: Estimate,
    columns: Sequence[str],
    rows: Sequence[str],
    text: np.ndarray | None = None,
    blank: np.ndarray | None = None,
) -> go.Figure:
    """Cells coloured by cosine; undetermined ones hatched, those below noise dark grey, unrecorded ones empty.

    Args:
        estimate: [rows, columns].
        text: What to write into the cells; nothing by default.
        blank: Cells to leave empty whatever they hold.
    """
    state = estimate.state if blank is None else np.where(blank, np.int8(MISSING), estimate.state)
    shown = Estimate(estimate.value, estimate.low, estimate.high, state)
    hover = np.array(
        [
            [f"{row}<br>{column}<br>{describe(*cell)}" for column, cell in zip(columns, cells(line), strict=True)]
            for row, line in ((row, shown[i]) for i, row in enumerate(rows))
        ],
        dtype=object,
    ).reshape(state.shape)
    figure = go.Figure()
    called = np.isin(state, (CONFLICT, ALIGNED))
    figure.add_trace(
        _layer(
            np.where(called, estimate.value, np.nan), text, hover, colorscale=DIVERGING, zmin=-1, zmax=1,
            colorbar={"title": {"text": "cosine"}, "thickness": 14, "len": 0.9, "tickvals": [-1, -0.5, 0, 0.5, 1]},
        )
    )  # fmt: skip
    for which, fill, ink in ((UNDETERMINED, UNDETERMINED_FILL, "#1B1B1B"), (BELOW_NOISE, NOISE_FILL, "#FFFFFF")):
        chosen = state == which
        if chosen.any():
            layer = _layer(
                np.where(chosen, 0.0, np.nan), text, hover, colorscale=[[0, fill], [1, fill]], showscale=False
            )
            figure.add_trace(layer.update(textfont={"color": ink}))
            if which == UNDETERMINED:
                figure.add_trace(_hatch(chosen))
            figure.add_trace(_key(which, fill))
    figure.update_xaxes(tickvals=np.arange(len(columns)), ticktext=list(columns), showgrid=False, zeroline=False)
    figure.update_yaxes(
        tickvals=np.arange(len(rows)), ticktext=list(rows), showgrid=False, zeroline=False,
        range=[len(rows) - 0.5, -0.5], automargin=True,
    )  # fmt: skip
    figure.update_xaxes(range=[-0.5, len(columns) - 0.5], automargin=True)
    return figure.update_layout(legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0}, barmode="overlay")


def cells(estimate: Estimate) -> list[tuple[float, float, float, int]]:
    """Value, low, high and state of every cell of an estimate [N]."""
    arrays = (estimate.value.tolist(), estimate.low.tolist(), estimate.high.tolist(), estimate.state.tolist())
    return list(zip(*arrays, strict=True))


def _layer(z: Float[np.ndarray, "R C"], text: np.ndarray | None, hover: np.ndarray, **style: object) -> go.Heatmap:
    shown = {} if text is None else {"text": np.where(np.isnan(z), "", text), "texttemplate": "%{text}"}
    return go.Heatmap(
        z=z, customdata=hover, hovertemplate="%{customdata}<extra></extra>", hoverongaps=False, xgap=2, ygap=2,
        **shown, **style,
    )  # fmt: skip


def _hatch(cells: np.ndarray) -> go.Scatter:
    """Diagonal lines through the chosen cells, as one trace."""
    row, column = np.nonzero(cells)
    # Five strokes a cell, from its left or lower edge to its upper or right edge; NaN lifts the pen.
    shift = np.linspace(-0.64, 0.64, 5)
    start, end = np.maximum(-0.48, shift - 0.48), np.minimum(0.48, shift + 0.48)
    gap = np.full(5, np.nan)
    dx = np.stack([start, end, gap], axis=1).ravel()
    dy = np.stack([-(start - shift), -(end - shift), gap], axis=1).ravel()
    return go.Scatter(
        x=(column[:, None] + dx).ravel(), y=(row[:, None] + dy).ravel(), mode="lines",
        line={"color": HATCH, "width": 1}, opacity=0.6, hoverinfo="skip", showlegend=False,
    )  # fmt: skip


def _key(state: int, fill: str) -> go.Bar:
    """An entry of the legend for cells without a call."""
    names = {
        UNDETERMINED: "undetermined: the 95 % interval contains 0",
        BELOW_NOISE: "signal below noise: nothing can be said",
    }
    pattern = {"shape": "/" if state == UNDETERMINED else "", "fgcolor": HATCH, "size": 6}
    return go.Bar(x=[None], y=[None], name=names[state], marker={"color": fill, "pattern": pattern}, hoverinfo="skip")
