"""A figure small enough for a card: the picture without its words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: A thumbnail shows the shape of a cloud of points, not each point.
MAX_POINTS = 600


def thumbnail(fig: go.Figure, height: int = 120) -> go.Figure:
    """A copy of a figure without titles, legend, colour bars, tick labels and notes; the figure itself is left alone.

    WebGL traces become SVG ones, since a browser draws only a few WebGL figures on one page, and point clouds are
    thinned evenly to :data:`MAX_POINTS`.
    """
    import plotly.graph_objects as go  # loaded late: choosing a run needs no figure

    visible = [trace.to_plotly_json() for trace in fig.data if trace.visible not in (False, "legendonly")]
    small = go.Figure([_small(trace) for trace in visible], layout=fig.layout.to_plotly_json())
    small.update_layout(
        title=None,
        showlegend=False,
        height=height,
        width=None,
        margin={"l": 4, "r": 4, "t": 4, "b": 4, "pad": 0},
        hovermode=False,
        dragmode=False,
    )
    small.layout.annotations, small.layout.updatemenus, small.layout.sliders = (), (), ()
    for axes in (small.update_xaxes, small.update_yaxes):
        axes(title=None, showticklabels=False, ticks="", showgrid=False, automargin=False)
    small.update_coloraxes(showscale=False)
    return small


def _small(trace: dict[str, Any]) -> dict[str, Any]:
    trace = dict(trace)
    kind = trace.get("type", "scatter")
    if kind == "scattergl":
        trace["type"] = "scatter"
    if kind in ("scatter", "scattergl") and "markers" in str(trace.get("mode", "")):
        trace = _thinned(trace)
    if kind == "heatmap":
        trace.pop("texttemplate", None)
        trace["showscale"] = False
    if isinstance(trace.get("marker"), dict):
        trace["marker"] = {key: value for key, value in trace["marker"].items() if key != "colorbar"}
        trace["marker"]["showscale"] = False
    if "text" in str(trace.get("mode", "")):
        trace["mode"] = "+".join(part for part in str(trace["mode"]).split("+") if part != "text") or "none"
    return trace


def _thinned(trace: dict[str, Any]) -> dict[str, Any]:
    """Every n-th point of a scatter trace, in all its per-point arrays."""
    x = trace.get("x")
    n_points = 0 if x is None else len(x)
    if n_points <= MAX_POINTS:
        return trace
    keep = np.linspace(0, n_points - 1, MAX_POINTS).astype(int)

    def thin(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: thin(item) for key, item in value.items()}
        per_point = isinstance(value, (list, tuple, np.ndarray)) and len(value) == n_points
        return np.asarray(value, dtype=object)[keep].tolist() if per_point else value

    return {key: thin(value) for key, value in trace.items()}
