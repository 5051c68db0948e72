"""Figures of what lies below tensors and of what was measured; they draw what the statistics hold."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from workbench.core import ConfigError
from workbench.lenses.empty_figure import empty
from workbench.lenses.gsnr.detail import SIGNS_BY_CHANCE
from workbench.lenses.gsnr.figures import MAX_LINES, short
from workbench.lenses.gsnr.statistics import MASK_RATIOS, Gsnr
from workbench.lenses.palette import CATEGORICAL, SEQUENTIAL, UNKNOWN, colours, dashes, faded, symbols

#: Filters drawn as points at most; the table holds all.
MAX_POINTS = 2000
NO_DETAIL = "Record it with Recorder.gsnr(..., detail=True)."
Against = Literal["training", "weight", "change"]
#: What a filter's GSNR is drawn against: title of the axis.
AXES = {
    "weight": "root mean square of the filter's weights (log scale)",
    "change": "root mean square change of its weights since the record before (log scale)",
}


def measured(stats: Gsnr) -> go.Figure:
    """The generalisation ratio that GSNR predicts beside the one that true steps show."""
    found = stats.detail.measured
    if found is None:
        return empty("Record true steps with Recorder.trial_steps(step, model, losses, batches, lr=…, held_out=…).")
    figure = go.Figure()
    figure.add_scatter(
        x=found.steps, y=found.predicted, mode="lines+markers", name="predicted from GSNR",
        line={"color": CATEGORICAL[0], "width": 2}, marker={"size": 6},
        hovertemplate="step %{x}: predicted %{y:.2f}<extra></extra>",
    )  # fmt: skip
    low, high = (np.where(np.isfinite(a), a, np.nan) for a in (found.low, found.high))
    figure.add_scatter(
        x=found.steps, y=found.ratio, mode="markers", name="measured, 95 % interval",
        marker={"color": CATEGORICAL[5], "symbol": "diamond", "size": 9},
        error_y={
            "type": "data", "symmetric": False, "array": high - found.ratio, "arrayminus": found.ratio - low,
            "color": CATEGORICAL[5], "width": 0, "thickness": 2,
        },
        hovertemplate="step %{x}: measured %{y:.2f}<extra></extra>",
    )  # fmt: skip
    for level, text in ((1.0, "all"), (0.0, "nothing")):
        figure.add_hline(
            y=level, line={"color": UNKNOWN, "width": 1, "dash": "dot"},
            annotation={"text": text, "showarrow": False, "xanchor": "right", "font": {"color": UNKNOWN}},
        )  # fmt: skip
    ends = np.concatenate([found.ratio, found.predicted])
    ends = np.clip(ends[np.isfinite(ends)], -1.0, 2.0)
    other = "held-out" if found.held_out else "other"
    return figure.update_layout(
        title=f"Share of a step's gain that {other} samples see, for steps on {found.samples} samples",
        xaxis_title="step", height=430,
        yaxis={"title": "ratio", "range": [ends.min(initial=0) - 0.15, ends.max(initial=1) + 0.15]},
        legend={"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0},
    )  # fmt: skip


def filters(stats: Gsnr, part: str | None = None, against: Against = "training") -> go.Figure:
    """GSNR of single filters over training, or against the size or the change of their weights.

    Args:
        part: A module or a weight tensor; by default the first tensor with filters (all modules where ``against`` is
            not "training").
    """
    frame = stats.detail.filters
    if not len(frame):
        return empty(f"Single filters were not recorded. {NO_DETAIL}")
    inside = (frame["parameter"] == part) | (frame["module"] == part)
    if part is not None and part != stats.parts[0] and not inside.any():
        raise ConfigError(f"'{part}' has no filters: only weight tensors with two axes or more do.")
    chosen = frame[inside] if inside.any() else frame
    if against in AXES:
        return _against(stats, chosen, against)
    tensor = str(chosen["parameter"].iloc[0])
    table = chosen[chosen["parameter"] == tensor].pivot_table(
        index="filter", columns="step", values="gsnr", dropna=False
    )
    values = table.to_numpy(dtype=float)
    figure = go.Figure(
        go.Heatmap(
            x=table.columns.to_numpy(), y=table.index.to_numpy(), colorscale=SEQUENTIAL, hoverongaps=False,
            z=np.log10(np.where(values > 0, values, np.nan)), customdata=values,
            hovertemplate="filter %{y}, step %{x}: GSNR %{customdata:.3g}<extra></extra>",
            colorbar={"title": {"text": "log10<br>GSNR"}, "thickness": 14},
        )
    )  # fmt: skip
    return figure.update_layout(
        title=f"GSNR of every filter of {short(tensor, 50)}; empty where no signal is left", xaxis_title="step",
        yaxis={"title": "filter (output channel)", "autorange": "reversed"},
        height=int(np.clip(200 + 12 * len(table), 360, 800)),
    )  # fmt: skip


def _against(stats: Gsnr, chosen: pd.DataFrame, against: str) -> go.Figure:
    known = chosen[np.isfinite(chosen[against]) & (chosen[against] > 0) & (chosen["gsnr"] > 0)]
    if not len(known):
        return empty("No filter has both: the change of weights needs two records.")
    step = int(known["step"].max())
    last = known[known["step"] == step]
    last = last.iloc[np.unique(np.linspace(0, len(last) - 1, MAX_POINTS).round().astype(int))]
    modules = [name for name in stats.modules if name in set(last["module"])]
    shade, mark = colours(stats.modules), symbols(stats.modules)
    figure = go.Figure()
    for module in modules:
        mine = last[last["module"] == module]
        figure.add_scatter(
            x=mine[against], y=mine["gsnr"], mode="markers", name=short(module),
            marker={"color": shade[module], "symbol": mark[module], "size": 8, "opacity": 0.75},
            customdata=np.stack([mine["parameter"].to_numpy(), mine["filter"].to_numpy()], axis=-1),
            hovertemplate="%{customdata[0]}, filter %{customdata[1]}<br>GSNR %{y:.3g}, %{x:.3g}<extra></extra>",
        )  # fmt: skip
    rho = float(last["gsnr"].rank().corr(last[against].rank()))
    said = f"{rho:.2f}".replace("-", "\u2212")
    return figure.update_layout(
        title=f"Filters at step {step}: GSNR against their weights, rank correlation {said} (n = {len(last)})",
        xaxis={"title": AXES[against], "type": "log"}, yaxis={"title": "GSNR as a whole (log scale)", "type": "log"},
        height=460, legend={"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0},
    )  # fmt: skip


def signs(stats: Gsnr, part: str | None = None) -> go.Figure:
    """On which share of parameters two domains pull in opposite directions: by pair, and by module over training."""
    frame = stats.detail.signs
    if not len(frame):
        return empty(f"Signs were not recorded; they need at least two domains. {NO_DETAIL}")
    names = list(stats.domains)
    inside = frame[frame["module"] == part] if part in set(frame["module"]) else frame
    pooled = inside.groupby(["domain_a", "domain_b"], sort=False)[["opposed", "count"]].sum()
    table = np.full((len(names), len(names)), np.nan)
    for (first, second), opposed, count in zip(pooled.index, pooled["opposed"], pooled["count"], strict=True):
        i, j = names.index(first), names.index(second)
        table[i, j] = table[j, i] = opposed / count
    where = short(part, 30) if part is not None and part in set(frame["module"]) else "all parameters"
    figure = make_subplots(
        1, 2, horizontal_spacing=0.2, column_widths=[0.45, 0.55],
        subplot_titles=(f"By pair of domains, {where}", "By module, all pairs"),
    )  # fmt: skip
    text = np.array([["" if np.isnan(cell) else f"{100 * cell:.2g} %" for cell in row] for row in table])
    figure.add_heatmap(
        x=names, y=names, z=table, text=text, texttemplate="%{text}" if len(names) <= 9 else None, xgap=2, ygap=2,
        colorscale="Oranges", zmin=0, hoverongaps=False, showscale=False,
        hovertemplate="%{y} and %{x}: %{z:.2%} of parameters<extra></extra>", row=1, col=1,
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", automargin=True, row=1, col=1)
    by_module = frame.groupby(["module", "step"], sort=False)[["opposed", "count"]].sum()
    share = (by_module["opposed"] / by_module["count"]).unstack("step")
    shown = share.mean(axis=1).sort_values(ascending=False).index[:MAX_LINES]
    shade, dash, mark = colours(stats.modules), dashes(stats.modules), symbols(stats.modules)
    for module in [name for name in stats.modules if name in set(shown)]:
        figure.add_scatter(
            x=share.columns.to_numpy(), y=share.loc[module].to_numpy(), name=short(module), mode="lines+markers",
            line={"color": shade[module], "dash": dash[module], "width": 2}, marker={"symbol": mark[module], "size": 6},
            hovertemplate=f"{module}, step %{{x}}: %{{y:.2%}}<extra></extra>", row=1, col=2,
        )  # fmt: skip
    figure.add_hline(
        y=SIGNS_BY_CHANCE, line={"color": UNKNOWN, "width": 1, "dash": "dot"}, row=1, col=2,
        annotation={"text": "equal domains, at most", "showarrow": False, "font": {"color": UNKNOWN}},
    )  # fmt: skip
    figure.update_xaxes(title_text="step", row=1, col=2)
    figure.update_yaxes(title_text="share of parameters", tickformat=".1%", rangemode="tozero", row=1, col=2)
    return figure.update_layout(
        title="Parameters that two domains pull in opposite directions, both beyond noise", height=460,
        legend={"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0},
    )  # fmt: skip


def churn(stats: Gsnr, ratio: float = 0.05) -> go.Figure:
    """Is it the same mask from record to record? Overlap of consecutive masks, beside masks drawn at random."""
    if ratio not in MASK_RATIOS:
        raise ConfigError(f"Masks were compared at the ratios {', '.join(map(str, MASK_RATIOS))}; got {ratio}.")
    frame = stats.detail.masks
    if not len(frame):
        return empty(f"Masks of two records were not compared. {NO_DETAIL}")
    mine = frame[np.isclose(frame["ratio"], ratio)]
    whole = mine[mine["module"] == ""]
    figure = go.Figure()
    modules = [name for name in stats.modules if name in set(mine["module"])][:MAX_LINES]
    shade, dash, mark = colours(stats.modules), dashes(stats.modules), symbols(stats.modules)
    for module in modules:
        part = mine[mine["module"] == module]
        figure.add_scatter(
            x=part["step"], y=part["overlap"], name=short(module), mode="lines+markers", opacity=0.7,
            line={"color": shade[module], "dash": dash[module], "width": 1.5},
            marker={"symbol": mark[module], "size": 5},
            hovertemplate=f"{module}, step %{{x}}: %{{y:.0%}}<extra></extra>",
        )  # fmt: skip
    for column, name, style in (
        ("overlap", "all weights", {"color": faded("#8C8C8C", 1.0), "width": 4}),
        ("by_chance", "masks drawn at random", {"color": UNKNOWN, "width": 1.5, "dash": "dot"}),
    ):
        figure.add_scatter(
            x=whole["step"], y=whole[column], name=name, mode="lines", line=style, customdata=whole["previous_step"],
            hovertemplate=f"{name}, step %{{x}} against %{{customdata}}: %{{y:.0%}}<extra></extra>",
        )  # fmt: skip
    return figure.update_layout(
        title=f"Overlap of the mask at ratio {ratio:g} with the mask of the record before", xaxis_title="step",
        yaxis={"title": "weights in both, of those in either", "tickformat": ".0%", "range": [-0.02, 1.02]},
        height=430, legend={"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0},
    )  # fmt: skip


def micro(stats: Gsnr) -> go.Figure:
    """The cheap estimate from micro-batches against the exact one, with and without its bias taken off."""
    frame = stats.detail.micro
    if not len(frame):
        return empty(f"No estimate from micro-batches was recorded; it needs at least four equal batches. {NO_DETAIL}")
    figure = make_subplots(
        1, 2, horizontal_spacing=0.14, column_widths=[0.6, 0.4],
        subplot_titles=("Median GSNR of a tensor's parameters", "Rank correlation over parameters"),
    )  # fmt: skip
    label = frame["parameter"] + ", step " + frame["step"].astype(str)
    for column, name, colour, symbol in (
        ("raw", "as it comes", CATEGORICAL[5], "circle-open"),
        ("corrected", "bias taken off", CATEGORICAL[0], "circle"),
    ):
        figure.add_scatter(
            x=frame["exact"], y=frame[column], mode="markers", name=name, customdata=label,
            marker={"color": colour, "symbol": symbol, "size": 7, "opacity": 0.7},
            hovertemplate="%{customdata}<br>exact %{x:.3g}, micro-batches %{y:.3g}<extra></extra>", row=1, col=1,
        )  # fmt: skip
    ends = np.array([frame["exact"].min(), frame["exact"].max()], dtype=float)
    figure.add_scatter(
        x=ends, y=ends, mode="lines", name="equal", line={"color": UNKNOWN, "width": 1, "dash": "dot"},
        hoverinfo="skip", row=1, col=1,
    )  # fmt: skip
    rank = frame.dropna(subset=["rank"]).groupby("step")["rank"].agg(["median", "min", "max"])
    figure.add_scatter(
        x=rank.index.to_numpy(), y=rank["median"], mode="lines+markers", showlegend=False,
        line={"color": CATEGORICAL[6], "width": 2},
        error_y={
            "type": "data", "symmetric": False, "array": rank["max"] - rank["median"],
            "arrayminus": rank["median"] - rank["min"], "width": 0, "color": faded(CATEGORICAL[6], 0.5),
        },
        hovertemplate="step %{x}: median over tensors %{y:.2f}<extra></extra>", row=1, col=2,
    )  # fmt: skip
    k = int(frame["groups"].median())
    raw, better = (float((frame[column] - frame["exact"]).median()) for column in ("raw", "corrected"))
    figure.update_xaxes(title_text="exact, corrected", row=1, col=1)
    figure.update_yaxes(title_text=f"from {k} micro-batches", row=1, col=1)
    figure.update_xaxes(title_text="step", row=1, col=2)
    figure.update_yaxes(title_text="Spearman, bar: all tensors", range=[-0.1, 1.05], row=1, col=2)
    return figure.update_layout(
        title=f"Micro-batches against per-sample gradients: median bias {raw:+.2g}, {better:+.2g} once it is taken "
        "off".replace("-", "\u2212"),
        height=430, legend={"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0},
    )  # fmt: skip
