"""Charts of what lies behind a shift: its kind, what it costs, and the samples that show it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.core import ConfigError
from workbench.lenses import palette
from workbench.lenses.domains.depth import ESTIMATORS, RESIDUAL_ALPHA
from workbench.lenses.domains.figures import chosen, furthest, label, wrapped
from workbench.lenses.domains.label_shift import MAX_CONDITION
from workbench.lenses.domains.map_figure import SAMPLES
from workbench.lenses.domains.statistics import DomainShift
from workbench.lenses.domains.verdicts import p_text, reference_name
from workbench.lenses.empty_figure import empty

if TYPE_CHECKING:
    import plotly.graph_objects as go

_MARGIN = {"l": 20, "r": 20, "t": 100, "b": 20}
_LEGEND = {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1, "xanchor": "right"}
_NO_ANSWERS = (
    "Needs predictions with confidences, and the classes of the samples: record predictions and target_<task>."
)
COMPARE = {"training": "steps of one layer", "layers": "layers at the last step"}


def similarity_figure(stats: DomainShift, compare: str = "training", layer: str | None = None) -> go.Figure:
    """Debiased linear CKA: how alike two checkpoints of a layer, or two layers, arrange the same samples."""
    import plotly.graph_objects as go

    if compare not in COMPARE:
        raise ConfigError(f"Cannot compare '{compare}'. Choose from: {', '.join(COMPARE)}.")
    layer = chosen(stats.layers, layer, "layer")
    rows = stats.depth.similarity
    if compare == "training":
        rows = rows[(rows["layer_a"] == layer) & (rows["layer_b"] == layer)]
        names, keys, axis = [str(step) for step in stats.steps], ("step_a", "step_b"), "training step"
        title = f"How much of {layer} is the same at two steps"
    else:
        rows = rows[rows["layer_a"] != rows["layer_b"]]
        names, keys, axis = list(stats.layers), ("layer_a", "layer_b"), "layer"
        title = f"How alike two layers arrange the samples, step {stats.steps[-1]}"
    if rows.empty:
        return empty("Needs embeddings of the same samples at two steps or two layers.")
    a, b = (pd.Categorical(rows[key].astype(str), names).codes for key in keys)
    grids = []
    for column in ("cka", "low", "high"):
        grid = np.full((len(names), len(names)), np.nan)
        np.fill_diagonal(grid, 1.0)
        grid[a, b] = grid[b, a] = rows[column]
        grids.append(grid)
    value, low, high = grids
    text = np.array([["" if np.isnan(v) else f"{v:.2f}" for v in row] for row in value], dtype=object)
    ticks = [wrapped(name) for name in names]
    fig = go.Figure(
        go.Heatmap(
            z=value, x=ticks, y=ticks, zmin=0, zmax=1, colorscale=palette.SEQUENTIAL, text=text, texttemplate="%{text}",
            customdata=np.stack([low, high], axis=-1), xgap=2, ygap=2, colorbar_title="CKA",
            hovertemplate="%{y} and %{x}: CKA %{z:.3f} (%{customdata[0]:.3f} to %{customdata[1]:.3f})<extra></extra>",
        )
    )  # fmt: skip
    n = int(rows["n"].iloc[0])
    note = f"Debiased linear CKA on {n} shared samples; 1 = same up to rotation and scale, 0 = unrelated"
    fig.update_layout(title={"text": title, "subtitle": {"text": note}}, height=max(420, 140 + 56 * len(names)))
    fig.update_layout(margin=_MARGIN)
    fig.update_xaxes(type="category", title=axis, tickangle=0, automargin=True, showgrid=False)
    fig.update_yaxes(type="category", title=axis, autorange="reversed", automargin=True, showgrid=False)
    return fig


def split_figure(stats: DomainShift) -> go.Figure:
    """The change of accuracy of every domain, split into another mix of classes and other answers within classes."""
    import plotly.graph_objects as go

    rows = stats.depth.split
    if rows.empty:
        return empty(_NO_ANSWERS)
    names = [wrapped(label(stats, domain)) for domain in rows["domain"]]
    fig = go.Figure()
    parts = (("label", "other mix of classes", 4, ""), ("conditional", "same classes, other answers", 5, "/"))
    for part, name, colour, pattern in parts:
        value = 100 * rows[part].to_numpy()
        fig.add_bar(
            x=names, y=value, name=name, error_y=_bars(value, 100 * rows[f"{part}_low"], 100 * rows[f"{part}_high"]),
            marker={"color": palette.CATEGORICAL[colour], "pattern": {"shape": pattern}},
            hovertemplate="%{x}<br>" + name + ": %{y:.1f} points<extra></extra>",
        )  # fmt: skip
    total = 100 * rows["change"].to_numpy()
    fig.add_scatter(
        x=names, y=total, mode="markers", name="whole change",
        marker={"symbol": "diamond", "size": 11, "color": palette.UNKNOWN},
        error_y=_bars(total, 100 * rows["change_low"], 100 * rows["change_high"]),
        hovertemplate="%{x}<br>whole change: %{y:.1f} points<extra></extra>",
    )  # fmt: skip
    fig.add_hline(y=0, line={"color": palette.UNKNOWN, "width": 1})
    note = f"{_against(stats)}; bars add up to the diamond; whiskers: 95 % bootstrap"
    return fig.update_layout(
        title={"text": f"What changes the accuracy of a domain, step {stats.steps[-1]}", "subtitle": {"text": note}},
        yaxis_title="change of accuracy, percentage points",
        xaxis={"type": "category", "tickangle": 0, "automargin": True},
        barmode="group", height=480, margin=_MARGIN, legend=_LEGEND,
    )  # fmt: skip


def class_mix_figure(stats: DomainShift, domain: str | None = None) -> go.Figure:
    """Shares of the classes in a domain: the true ones, those of its reference, and BBSE's guess without labels."""
    import plotly.graph_objects as go

    domain = chosen(stats.domains, domain or furthest(stats), "domain")
    rows = stats.depth.class_mix[stats.depth.class_mix["domain"] == domain]
    if rows.empty:
        return empty(_NO_ANSWERS)
    names = rows["class"].astype(str).to_numpy()
    estimate = 100 * rows["estimate"].to_numpy()
    fig = go.Figure()
    fig.add_bar(
        x=names, y=100 * rows["share"].to_numpy(), name="true share",
        marker_color=palette.colours(stats.domains)[domain],
        hovertemplate="%{x}: %{y:.1f} % of the domain<extra></extra>",
    )  # fmt: skip
    fig.add_scatter(
        x=names, y=100 * rows["reference_share"].to_numpy(), mode="markers", name=f"in {reference_name(stats, domain)}",
        marker={"symbol": "line-ew-open", "size": 24, "color": palette.UNKNOWN, "line": {"width": 3}},
        hovertemplate="%{x}: %{y:.1f} % of the reference<extra></extra>",
    )  # fmt: skip
    fig.add_scatter(
        x=names, y=estimate, mode="markers", name="estimated without labels (BBSE)",
        error_y=_bars(estimate, 100 * rows["low"], 100 * rows["high"]),
        marker={"symbol": "diamond-open", "size": 10, "color": palette.UNKNOWN, "line": {"width": 2}},
        hovertemplate="%{x}: estimated %{y:.1f} %<extra></extra>",
    )  # fmt: skip
    return fig.update_layout(
        title={"text": f"Mix of classes in {label(stats, domain)}", "subtitle": {"text": _mix_note(rows)}},
        xaxis={"title": "class", "type": "category", "automargin": True},
        yaxis={"title": "share of the domain, %", "rangemode": "tozero"},
        height=460, margin=_MARGIN, legend=_LEGEND,
    )  # fmt: skip


def _mix_note(rows: pd.DataFrame) -> str:
    condition, residual_p = float(rows["condition"].iloc[0]), float(rows["residual_p"].iloc[0])
    if bool(rows["usable"].iloc[0]):
        return f"The estimate assumes that a class looks alike in both (confusion matrix condition {condition:.1f})"
    if residual_p <= RESIDUAL_ALPHA:
        return f"Do not use the estimate: classes look different in this domain ({p_text(residual_p)})"
    return (
        f"Do not use the estimate: classes are confused (condition {condition:.1f}, limit {MAX_CONDITION:.0f}) "
        "or look different here"
    )


def estimates_figure(stats: DomainShift) -> go.Figure:
    """Accuracy of every domain, and what one would have guessed without its labels."""
    import plotly.graph_objects as go

    rows = stats.depth.estimates
    if rows.empty:
        return empty(_NO_ANSWERS)
    place = {domain: i for i, domain in enumerate(stats.domains)}
    fig = go.Figure()
    truth = rows.drop_duplicates("domain").dropna(subset=["accuracy"])
    value = 100 * truth["accuracy"].to_numpy()
    fig.add_scatter(
        x=value, y=truth["domain"].map(place).to_numpy() - 0.3, mode="markers", name="true",
        error_x=_bars(value, 100 * truth["accuracy_low"], 100 * truth["accuracy_high"]),
        marker={"symbol": "line-ns-open", "size": 18, "color": palette.UNKNOWN, "line": {"width": 4}},
        hovertemplate="true accuracy %{x:.1f} %<extra></extra>",
    )  # fmt: skip
    looks = zip(ESTIMATORS.items(), palette.CATEGORICAL, palette.SYMBOLS[1:], strict=False)
    for i, ((method, name), colour, symbol) in enumerate(looks):
        part = rows[rows["method"] == method]
        value = 100 * part["estimate"].to_numpy()
        fig.add_scatter(
            x=value, y=part["domain"].map(place).to_numpy() - 0.13 + 0.17 * i, mode="markers", name=name,
            error_x=_bars(value, 100 * part["low"], 100 * part["high"]) | {"color": colour},
            marker={"symbol": symbol, "size": 10, "color": colour},
            hovertemplate=name + ": %{x:.1f} %<extra></extra>",
        )  # fmt: skip
    note = f"{_against(stats)}; whiskers: 95 %, if the model errs there as it does in the reference; it may not"
    fig.update_layout(
        title={
            "text": f"Accuracy guessed without a domain's labels, step {stats.steps[-1]}",
            "subtitle": {"text": note},
        },
        xaxis_title="accuracy, %", height=max(420, 170 + 80 * len(place)), margin=_MARGIN | {"t": 120}, legend=_LEGEND,
    )  # fmt: skip
    names = [wrapped(label(stats, domain)) for domain in stats.domains]
    return fig.update_yaxes(
        tickmode="array", tickvals=np.arange(len(names)), ticktext=names, range=[len(names) - 0.4, -0.6],
        automargin=True, zeroline=False,
    )  # fmt: skip


def bound_figure(stats: DomainShift) -> go.Figure:
    """Three terms that together limit the error in a domain, beside the error itself."""
    import plotly.graph_objects as go

    rows = stats.depth.bound
    if rows.empty:
        return empty(_NO_ANSWERS)
    names = [wrapped(label(stats, domain)) for domain in rows["domain"]]
    terms = (
        ("source_error", "error in the reference", 0, ""),
        ("half_distance", "half the proxy A-distance", 1, "/"),
        ("joint_error", "error of one classifier for both", 3, "x"),
    )
    fig = go.Figure()
    for column, name, colour, pattern in terms:
        value = rows[column].to_numpy(dtype=float)
        fig.add_bar(
            x=names, y=value, name=name, error_y=_bars(value, rows[f"{column}_low"], rows[f"{column}_high"]),
            marker={"color": palette.CATEGORICAL[colour], "pattern": {"shape": pattern}},
            hovertemplate="%{x}<br>" + name + ": %{y:.3f}<extra></extra>",
        )  # fmt: skip
    target = rows["target_error"].to_numpy(dtype=float)
    fig.add_scatter(
        x=names, y=target, mode="markers", name="error in the domain",
        marker={"symbol": "star", "size": 13, "color": palette.UNKNOWN},
        error_y=_bars(target, rows["target_error_low"], rows["target_error_high"]),
        hovertemplate="%{x}<br>error in the domain: %{y:.3f}<extra></extra>",
    )  # fmt: skip
    note = "After Ben-David et al. 2010: which term is large says what to work on; not a certificate"
    title = f"What could make the error in a domain large, {rows['layer'].iloc[0]}"
    return fig.update_layout(
        title={"text": title, "subtitle": {"text": note}},
        yaxis_title="error, or half a distance (0 to 1)",
        xaxis={"type": "category", "tickangle": 0, "automargin": True},
        barmode="group", height=480, margin=_MARGIN, legend=_LEGEND,
    )  # fmt: skip


def witness_figure(stats: DomainShift, domain: str | None = None, layer: str | None = None) -> go.Figure:
    """The samples that make the difference: far right typical of the domain only, far left of its reference only."""
    import plotly.graph_objects as go

    layer = chosen(stats.layers, layer, "layer")
    domain = chosen(stats.domains, domain or furthest(stats), "domain")
    rows = stats.depth.witness
    rows = rows[(rows["compared"] == domain) & (rows["layer"] == layer)]
    if rows.empty:
        return empty(f"No samples of '{domain}' were compared at layer '{layer}' at the last step.")
    fig = go.Figure()
    sides = (
        (True, label(stats, domain), palette.colours(stats.domains)[domain], palette.symbols(stats.domains)[domain]),
        (False, reference_name(stats, domain), palette.UNKNOWN, "circle"),
    )
    jitter = np.random.default_rng(0)
    for level, (inside, name, colour, symbol) in enumerate(sides):
        part = rows[rows["of_domain"] == inside]
        value = part["witness"].to_numpy()
        fig.add_scatter(
            x=value, y=level + jitter.uniform(-0.3, 0.3, len(value)), mode="markers", name=name,
            customdata=part["sample"].to_numpy(), meta=SAMPLES,
            text=stats.samples["class"].loc[part["sample"]].astype(str).to_numpy(),
            marker={"color": colour, "symbol": symbol, "size": 8, "opacity": 0.75},
            hovertemplate="sample %{customdata}, class %{text}<br>witness %{x:.3f}<extra></extra>",
        )  # fmt: skip
    fig.add_vline(x=0, line={"color": palette.UNKNOWN, "width": 1})
    note = "Right: dense in the domain, rare in the reference; left: the other way round; 0: as common in both"
    return fig.update_layout(
        title={
            "text": f"Which samples tell {label(stats, domain)} apart at {layer}, step {stats.steps[-1]}",
            "subtitle": {"text": note},
        },
        xaxis={"title": "witness: mean kernel to the domain minus mean kernel to its reference"},
        yaxis={"tickmode": "array", "tickvals": np.arange(2), "ticktext": [wrapped(side[1]) for side in sides],
               "automargin": True, "range": [-0.6, 1.6], "showgrid": False, "zeroline": False},
        height=420, margin=_MARGIN, showlegend=False,
    )  # fmt: skip


def _bars(value: Any, low: Any, high: Any) -> dict[str, Any]:
    """Error bars from the ends of an interval."""
    value = np.asarray(value, dtype=float)
    up, down = np.asarray(high, dtype=float) - value, value - np.asarray(low, dtype=float)
    bars = {"type": "data", "symmetric": False, "array": up, "arrayminus": down}
    return bars | {"thickness": 1.3, "width": 4, "color": palette.UNKNOWN}


def _against(stats: DomainShift) -> str:
    other = "the other training domains" if any(stats.held_out) else "all other domains"
    return f"Each domain against {other}"
