"""Charts of a teacher that follows its learner, and of what a setting trades. Each draws what the statistics hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.lenses import palette
from workbench.lenses.domains.figures import chosen
from workbench.lenses.domains.stability import DISTANCE, DISTILLATION, NEW, OLD, Sweep
from workbench.lenses.domains.statistics import DomainShift
from workbench.lenses.domains.stream import Stream
from workbench.lenses.domains.stream_figures import stream_in
from workbench.lenses.empty_figure import empty

if TYPE_CHECKING:
    import plotly.graph_objects as go

_MARGIN = {"l": 20, "r": 20, "t": 100, "b": 20}
_PANELS = (
    (DISTANCE, "distance of model and teacher, % of the model's length", 100.0),
    (DISTILLATION, "distillation loss (nats)", 1.0),
)
_SIDES = ((OLD, "earlier tasks, in the end", 0, "circle"), (NEW, "each task, just learned", 1, "square"))


def has_teacher(stats: DomainShift | Stream) -> bool:
    stream = stream_in(stats)
    return stream is not None and not stream.teacher.empty


def has_sweep(stats: DomainShift | Stream) -> bool:
    stream = stream_in(stats)
    return stream is not None and stream.sweep is not None


def teacher_figure(stats: DomainShift | Stream) -> go.Figure:
    """How far the model is from its teacher, and what the teacher asks of it, over training; dotted: a new task."""
    from plotly.subplots import make_subplots

    stream = stream_in(stats)
    if stream is None or stream.teacher.empty:
        return empty(f"Needs the scalars {DISTANCE} and {DISTILLATION}.")
    panels = [panel for panel in _PANELS if panel[0] in set(stream.teacher["quantity"])]
    fig = make_subplots(len(panels), 1, shared_xaxes=True, vertical_spacing=0.08)
    for row, (tag, title, scale) in enumerate(panels, start=1):
        part = stream.teacher[stream.teacher["quantity"] == tag]
        fig.add_scatter(
            x=part["step"].to_numpy(), y=scale * part["value"].to_numpy(), mode="lines", showlegend=False,
            line={"color": palette.CATEGORICAL[row - 1], "width": 2}, row=row, col=1,
            hovertemplate="step %{x}: %{y:.3g}<extra></extra>",
        )  # fmt: skip
        fig.update_yaxes(title=title.replace(", ", ",<br>"), rangemode="tozero", row=row, col=1)
    for step in stream.steps[:-1]:
        fig.add_vline(x=step, line={"color": palette.UNKNOWN, "width": 1, "dash": "dot"})
    starts = [0, *stream.steps[:-1]]
    for start, end, name in zip(starts, stream.steps, stream.stages, strict=True):
        fig.add_annotation(
            x=(start + end) / 2, y=1.0, yref="paper", yanchor="bottom", text=name, showarrow=False,
            font={"size": 12, "color": palette.UNKNOWN},
        )  # fmt: skip
    fig.update_xaxes(title="step", row=len(panels), col=1)
    silent = "" if len(panels) == len(_PANELS) else "; this run logged no distillation loss"
    note = f"A jump at a dotted line: a new task pulls the model away from what the teacher remembers{silent}"
    return fig.update_layout(
        title={"text": "How far the teacher lags behind, and what it asks for", "subtitle": {"text": note}},
        height=240 + 150 * len(panels), margin=_MARGIN,
    )  # fmt: skip


def stability_figure(stats: DomainShift | Stream, domains: str | None = None) -> go.Figure:
    """What a setting trades between old and new tasks, over its values and as a path in the plane of both."""
    stream = stream_in(stats)
    if stream is None or stream.sweep is None:
        return empty("This run trained with one setting. The recipe mahalanobis-continual has a sweep: decay-sweep.")
    return sweep_plane(stream.sweep, domains)


def sweep_plane(sweep: Sweep, scope: str | None = None) -> go.Figure:
    """The same for any sweep; the first scope by default."""
    from plotly.subplots import make_subplots

    scope = chosen(sweep.scopes, scope or sweep.scopes[0], "group of domains")
    means = sweep.means(scope)
    fig = make_subplots(1, 2, horizontal_spacing=0.1, column_widths=[0.55, 0.45])
    for side, name, colour, symbol in _SIDES:
        tint, faint = palette.CATEGORICAL[colour], palette.faded(palette.CATEGORICAL[colour], 0.3)
        rows = sweep.points[sweep.points["scope"] == scope]
        for _, part in rows.groupby("repetition"):
            fig.add_scatter(
                x=part["setting"].to_numpy(), y=100 * part[side].to_numpy(), showlegend=False, row=1, col=1,
                mode="lines+markers" if sweep.paired else "markers", line={"color": faint, "width": 1},
                marker={"color": faint, "symbol": symbol, "size": 6},
                hovertemplate="%{y:.1f} %<extra>one training</extra>",
            )  # fmt: skip
        fig.add_scatter(
            x=means["setting"].to_numpy(), y=100 * means[side].to_numpy(), mode="lines+markers", name=name,
            error_y=_bars(means[f"{side}_half"].to_numpy(), tint), line={"color": tint},
            marker={"symbol": symbol, "size": 10}, row=1, col=1,
        )  # fmt: skip
    fig.add_scatter(
        x=100 * means[OLD].to_numpy(), y=100 * means[NEW].to_numpy(), mode="lines+markers+text", showlegend=False,
        text=means["setting"].to_numpy(), textposition="top center", row=1, col=2,
        error_x=_bars(means[f"{OLD}_half"].to_numpy(), palette.UNKNOWN),
        error_y=_bars(means[f"{NEW}_half"].to_numpy(), palette.UNKNOWN),
        line={"color": palette.UNKNOWN, "width": 1, "dash": "dot"},
        marker={"color": palette.CATEGORICAL[2], "size": 10},
        hovertemplate="%{text}: earlier tasks %{x:.1f} %, new ones %{y:.1f} %<extra></extra>",
    )  # fmt: skip
    fig.update_xaxes(title=sweep.setting, type="category", row=1, col=1)
    fig.update_yaxes(title="accuracy, %", row=1, col=1)
    fig.update_xaxes(title="earlier tasks, in the end, %", row=1, col=2)
    fig.update_yaxes(title="each task, just learned, %", row=1, col=2)
    n = int(means["n"].min())
    pairs = " on the same data" if sweep.paired else ""
    how = f"whiskers: 95 % over {n} trainings of each{pairs}" if n > 1 else "one training of each, so no intervals"
    return fig.update_layout(
        title={
            "text": f"What is kept against what is learned, {scope} domains".replace("domains domains", "domains"),
            "subtitle": {"text": f"Faint: single trainings; {how}. Right: up and to the right is better"},
        },
        height=480, margin=_MARGIN, legend={"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0},
    )  # fmt: skip


def _bars(half: np.ndarray, colour: str) -> dict[str, object]:
    return {"type": "data", "array": 100 * np.nan_to_num(half), "color": palette.faded(colour, 0.6), "thickness": 1.2}
