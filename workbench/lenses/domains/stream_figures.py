"""Charts of tasks learned one after the other. Each draws what the statistics hold and computes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.lenses import palette
from workbench.lenses.domains.figures import chosen, wrapped
from workbench.lenses.domains.statistics import DomainShift
from workbench.lenses.domains.stream import ALL, SEEN, UNSEEN, Stream
from workbench.lenses.empty_figure import empty

if TYPE_CHECKING:
    import plotly.graph_objects as go

_MARGIN = {"l": 20, "r": 20, "t": 90, "b": 20}
_LEGEND = {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1, "xanchor": "right"}
_NO_METRICS = "The classes of this run have no learned metrics: record them as the array class_metrics.<layer>."


def stream_in(stats: DomainShift | Stream) -> Stream | None:
    """The stream of tasks that the statistics hold, if any."""
    return stats if isinstance(stats, Stream) else stats.stream


def _stream(stats: DomainShift | Stream) -> Stream:
    found = stream_in(stats)
    assert found is not None, "a view of a stream is shown only where there is one"
    return found


def kept_figure(stats: DomainShift | Stream, scope: str | None = None, model: str | None = None) -> go.Figure:
    """Accuracy on every task (across) after every further task (down)."""
    import plotly.graph_objects as go

    stream = _stream(stats)
    model = chosen(stream.models, model or stream.models[0], "model")
    scope = chosen(stream.scopes, scope or stream.scopes[0], "scope")
    value = 100 * stream.matrix(model, scope)
    low, high = (100 * stream.matrix(model, scope, end) for end in ("low", "high"))
    names = [wrapped(name, 16) for name in stream.stages]
    text = np.array([["" if np.isnan(cell) else f"{cell:.0f}" for cell in row] for row in value], dtype=object)
    hover = "%{x}<br>%{y}<br>accuracy %{z:.1f} %"
    known = not np.isnan(low).all()
    hover += " (95 %: %{customdata[0]:.0f} to %{customdata[1]:.0f})" if known else ""
    after = [f"after {name}" for name in stream.stages]
    fig = go.Figure(
        go.Heatmap(
            z=value, x=names, y=[wrapped(name, 22) for name in after], zmin=0, zmax=100, text=text,
            texttemplate="%{text}", textfont_size=15, colorscale=palette.SEQUENTIAL, xgap=3, ygap=3,
            colorbar_title="accuracy, %", customdata=np.stack([low, high], axis=-1),
            hovertemplate=hover + "<extra></extra>",
        )
    )  # fmt: skip
    row = stream.summary[(stream.summary["model"] == model) & (stream.summary["scope"] == scope)].iloc[0]
    note = f"Last row on average: {100 * row['average']:.1f} %; forgetting: {100 * row['forgetting']:.1f} points"
    fig.update_layout(
        title={"text": f"What {model} keeps of each task, {scope}", "subtitle": {"text": note}},
        height=max(420, 140 + 56 * len(names)), margin=_MARGIN,
    )  # fmt: skip
    fig.update_xaxes(type="category", title="accuracy on", tickangle=0, automargin=True, showgrid=False)
    fig.update_yaxes(type="category", autorange="reversed", automargin=True, showgrid=False)
    return fig


def balance_figure(stats: DomainShift | Stream) -> go.Figure:
    """Forgetting against average accuracy: a point a model in the seen domains, joined to its unseen one."""
    stream = _stream(stats)
    return plane(stream.summary.assign(name=stream.summary["model"]))


def plane(summary: pd.DataFrame) -> go.Figure:
    """The plane of forgetting and average accuracy for models of one run or of several.

    Args:
        summary: As :attr:`Stream.summary`, with a column ``name`` for the legend.
    """
    import plotly.graph_objects as go

    fig = go.Figure()
    names = list(dict.fromkeys(summary["name"]))
    colours, marks = palette.colours(names), {SEEN: "circle", UNSEEN: "circle-open", ALL: "circle"}
    rows = summary[summary["scope"].isin(list(marks))]
    for name in names:
        mine = rows[rows["name"] == name]
        faint, marker = palette.faded(colours[name], 0.5), [marks[scope] for scope in mine["scope"]]
        fig.add_scatter(
            x=100 * mine["forgetting"].to_numpy(), error_x=_whiskers(mine, "forgetting", faint),
            y=100 * mine["average"].to_numpy(), error_y=_whiskers(mine, "average", faint),
            mode="lines+markers", name=name, text=mine["scope"].to_numpy(),
            line={"color": colours[name], "width": 1, "dash": "dot"},
            marker={"size": 13, "symbol": marker, "color": colours[name], "line": {"width": 2}},
            hovertemplate=name + ", %{text}<br>average accuracy %{y:.1f} %<br>"
            "forgetting %{x:.1f} points<extra></extra>",
        )  # fmt: skip
    note = "Up and to the left is better. Filled: seen domains, hollow: unseen ones; whiskers: 95 % over samples"
    return fig.update_layout(
        title={"text": "What is known in the end, and what was lost on the way", "subtitle": {"text": note}},
        xaxis={"title": "forgetting, percentage points", "zeroline": True},
        yaxis={"title": "average accuracy after the last task, %"}, height=480, margin=_MARGIN,
    )  # fmt: skip


def _whiskers(rows: pd.DataFrame, key: str, colour: str) -> dict[str, object]:
    up, down = rows[f"{key}_high"] - rows[key], rows[key] - rows[f"{key}_low"]
    look = {"type": "data", "symmetric": False, "thickness": 1, "width": 0, "color": colour}
    return look | {"array": 100 * up.to_numpy(), "arrayminus": 100 * down.to_numpy()}


def recency_figure(stats: DomainShift | Stream, scope: str | None = None, model: str | None = None) -> go.Figure:
    """To which task the named classes belong, after every task; hatched lines: to which the samples belong."""
    import plotly.graph_objects as go

    stream = _stream(stats)
    model = chosen(stream.models, model or stream.models[0], "model")
    scope = chosen(stream.scopes, scope or stream.scopes[0], "scope")
    rows = stream.recency[(stream.recency["model"] == model) & (stream.recency["scope"] == scope)]
    if rows.empty:
        return empty("Needs recorded predictions, and classes that each belong to one task.")
    fig = go.Figure()
    colours = palette.colours(stream.stages)
    for i, stage in enumerate(stream.stages):
        part = rows[rows["stage"] == i + 1]
        x = part["learned"].to_numpy()
        fig.add_bar(
            x=x, y=100 * part["share"].to_numpy(), name=stage, marker_color=colours[stage],
            text=[f"{100 * share:.0f}" for share in part["share"]], textposition="inside",
            customdata=100 * part["true_share"].to_numpy(),
            hovertemplate=stage + ": named in %{y:.1f} % of the answers, true in %{customdata:.1f} %<extra></extra>",
        )  # fmt: skip
    last = rows[rows["stage"] == rows["learned"]]
    fig.add_scatter(
        x=last["learned"].to_numpy(), y=100 * (1 - last["true_share"].to_numpy()), mode="markers",
        name="where the last task's part would begin",
        marker={"symbol": "line-ew-open", "size": 60, "color": palette.UNKNOWN, "line": {"width": 4}}, hoverinfo="skip",
    )  # fmt: skip
    note = "Bars: tasks of the classes that are named, the newest on top; it should begin at the grey line"
    return fig.update_layout(
        title={"text": f"Which tasks' classes {model} names, {scope}", "subtitle": {"text": note}},
        xaxis={"title": "tasks learned", "dtick": 1}, yaxis={"title": "share of the answers, %", "range": [0, 100]},
        barmode="stack", height=480, margin=_MARGIN, legend={"traceorder": "reversed"},
    )  # fmt: skip


def drift_figure(stats: DomainShift | Stream) -> go.Figure:
    """How far the centre of each class has moved since it was learned, in radii of the class."""
    import plotly.graph_objects as go

    stream = _stream(stats)
    if stream.geometry is None or stream.geometry.drift.empty:
        return empty("Needs embeddings after every task.")
    rows = stream.geometry.drift
    mean = rows.groupby(["class", "stage", "learned"], sort=False)["drift"].mean().reset_index()
    classes = list(dict.fromkeys(mean["class"]))
    learned = list(range(1, len(stream.stages) + 1))
    grid = np.full((len(classes), len(learned)), np.nan)
    grid[mean["class"].map(classes.index).to_numpy(), mean["learned"].to_numpy() - 1] = mean["drift"]
    text = np.array([["" if np.isnan(cell) else f"{cell:.1f}" for cell in row] for row in grid], dtype=object)
    fig = go.Figure(
        go.Heatmap(
            z=grid, x=learned, y=[f"class {name}" for name in classes], text=text, texttemplate="%{text}",
            xgap=3, ygap=3, colorscale=palette.SEQUENTIAL, zmin=0, colorbar_title="radii",
            hovertemplate="%{y}, after %{x} tasks: moved by %{z:.2f} radii since it was learned<extra></extra>",
        )
    )  # fmt: skip
    note = f"Centres at {stream.geometry.layer}, mean over domains; 1: as far as its samples lie from a class's centre"
    fig.update_layout(
        title={"text": "How far classes drift while others are learned", "subtitle": {"text": note}},
        height=max(420, 140 + 34 * len(classes)), margin=_MARGIN,
    )  # fmt: skip
    fig.update_xaxes(title="tasks learned", dtick=1, showgrid=False)
    return fig.update_yaxes(type="category", autorange="reversed", automargin=True, showgrid=False)


def ignored_figure(stats: DomainShift | Stream) -> go.Figure:
    """How much of the variance between domains each class's metric does not see, beside what chance would give."""
    import plotly.graph_objects as go

    stream = _stream(stats)
    if stream.geometry is None or stream.geometry.ignored.empty:
        return empty(_NO_METRICS)
    rows = stream.geometry.ignored
    names = rows["class"].to_numpy()
    fig = go.Figure()
    fig.add_bar(
        x=names, y=100 * rows["ignored"].to_numpy(), name="ignored by the class's metric",
        marker_color=palette.CATEGORICAL[0], hovertemplate="class %{x}: %{y:.0f} % ignored<extra></extra>",
    )  # fmt: skip
    fig.add_scatter(
        x=names, y=100 * rows["chance"].to_numpy(), mode="markers", name="if domains differed in all directions alike",
        marker={"symbol": "line-ew-open", "size": 26, "color": palette.UNKNOWN, "line": {"width": 4}},
        hovertemplate="class %{x}: %{y:.0f} % by chance<extra></extra>",
    )  # fmt: skip
    note = "Above the grey line: the metric is blind to the directions in which domains move the class"
    return fig.update_layout(
        title={"text": "How much of the difference between domains each class ignores", "subtitle": {"text": note}},
        xaxis={"title": "class", "type": "category"},
        yaxis={"title": "share of the variance between domains, %", "range": [0, 105]},
        height=460, margin=_MARGIN, legend=_LEGEND,
    )  # fmt: skip


def measured_shift_figure(stats: DomainShift | Stream) -> go.Figure:
    """The shift of every class in every domain, plainly and as the class's own metric sees it."""
    import plotly.graph_objects as go

    stream = _stream(stats)
    if stream.geometry is None or stream.geometry.shift["in_metric"].isna().all():
        return empty(_NO_METRICS)
    rows = stream.geometry.shift
    domains = [name for name in stream.scopes if name in set(rows["domain"])]
    colours, symbols = palette.colours(domains), palette.symbols(domains)
    top = 1.08 * float(np.nanmax(rows[["shift", "in_metric"]].to_numpy()))
    fig = go.Figure()
    fig.add_scatter(
        x=[0, top], y=[0, top], mode="lines", line={"color": palette.UNKNOWN, "dash": "dash", "width": 1},
        hoverinfo="skip", showlegend=False,
    )  # fmt: skip
    for domain in domains:
        part = rows[rows["domain"] == domain]
        fig.add_scatter(
            x=part["shift"].to_numpy(), y=part["in_metric"].to_numpy(), mode="markers+text", name=domain,
            text=part["class"].to_numpy(), textposition="top center",
            marker={"color": colours[domain], "symbol": symbols[domain], "size": 10},
            hovertemplate="class %{text}, " + domain + "<br>%{x:.2f} radii, in the metric %{y:.2f}<extra></extra>",
        )  # fmt: skip
    note = "Below the line: the class's metric shrinks the shift against its own spread; above: it enlarges it"
    return fig.update_layout(
        title={"text": "Shift of each class in each domain, with and without its metric", "subtitle": {"text": note}},
        xaxis={"title": "shift from the seen domains, in radii", "range": [0, top]},
        yaxis={"title": "the same in the class's metric", "range": [0, top]}, height=520, margin=_MARGIN,
    )  # fmt: skip


def spectrum_figure(stats: DomainShift | Stream) -> go.Figure:
    """Eigenvalues of every class's metric, largest first."""
    import plotly.graph_objects as go

    stream = _stream(stats)
    if stream.geometry is None or stream.geometry.spectrum.empty:
        return empty(_NO_METRICS)
    rows = stream.geometry.spectrum
    names = list(dict.fromkeys(rows["class"]))
    colours, dashes = palette.colours(names), palette.dashes(names)
    fig = go.Figure()
    for name in names:
        part = rows[rows["class"] == name]
        fig.add_scatter(
            x=part["place"].to_numpy(), y=part["eigenvalue"].to_numpy(), mode="lines+markers",
            name=f"{name} (rank {part['effective_rank'].iloc[0]:.1f})",
            line={"color": colours[name], "dash": dashes[name]}, marker_size=5,
            hovertemplate=f"class {name}, " + "direction %{x}: %{y:.3g}<extra></extra>",
        )  # fmt: skip
    note = "Flat: all directions count alike; steep: a few count. In the legend: the effective number of directions"
    return fig.update_layout(
        title={"text": "What each class measures by: eigenvalues of its metric", "subtitle": {"text": note}},
        xaxis={"title": "direction, by its eigenvalue"}, yaxis={"title": "eigenvalue", "rangemode": "tozero"},
        height=460, margin=_MARGIN, legend={"title": "class (effective rank)"},
    )  # fmt: skip


def sweep_figure(points: pd.DataFrame, setting: str) -> go.Figure:
    """How a setting trades what was learned first for what was learned last.

    Args:
        points: One row a training: ``setting`` (as text, in the order to draw), ``old`` and ``new``: final accuracy
            on all tasks but the last, and on the last.
        setting: Its name, for the axis.
    """
    import plotly.graph_objects as go

    fig = go.Figure()
    names = list(dict.fromkeys(points["setting"]))
    for kind, name, colour, symbol in (("old", "earlier tasks", 0, "circle"), ("new", "the last task", 1, "square")):
        mean = points.groupby("setting", sort=False)[kind].mean().reindex(names)
        fig.add_scatter(
            x=points["setting"].to_numpy(), y=100 * points[kind].to_numpy(), mode="markers", showlegend=False,
            marker={"color": palette.faded(palette.CATEGORICAL[colour], 0.4), "symbol": symbol, "size": 8},
            hovertemplate="%{y:.1f} %<extra>one training</extra>",
        )  # fmt: skip
        fig.add_scatter(
            x=names, y=100 * mean.to_numpy(), mode="lines+markers", name=name,
            line={"color": palette.CATEGORICAL[colour]}, marker={"symbol": symbol, "size": 11},
        )  # fmt: skip
    return fig.update_layout(
        title={"text": "What is kept against what is learned", "subtitle": {"text": "Faint: single trainings"}},
        xaxis={"title": setting, "type": "category"}, yaxis={"title": "accuracy in the end, %"}, height=440,
        margin=_MARGIN,
    )  # fmt: skip
