"""Figures of GSNR dropout at work; they draw what was read and compute nothing."""

from __future__ import annotations

from typing import Literal

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from workbench.core import ConfigError
from workbench.lenses.empty_figure import empty
from workbench.lenses.gsnr.dropout import Cliff, Dropout, Overlay
from workbench.lenses.gsnr.figures import short
from workbench.lenses.gsnr.statistics import Gsnr
from workbench.lenses.palette import CATEGORICAL, SEQUENTIAL, UNKNOWN, colours, faded, symbols

#: What the picture of the inputs can show.
Ground = Literal["score", "left out"]
GROUNDS: tuple[Ground, ...] = ("score", "left out")
#: Quantiles of the scores at the ends of their colour scale.
SCALE = (0.01, 0.99)
#: Weights that were left out.
LEFT_OUT = "#D55E00"


def timeline(stats: Gsnr) -> go.Figure:
    """Which inputs the first-layer weights with the highest GSNR read, over training, beside each input's share."""
    found = stats.dropout
    if not found.shortcut:
        return empty(
            "Which inputs the highest GSNR reads was not recorded: log scalars 'top gsnr/<inputs>', and give "
            "config={'input_groups': {...}}."
        )
    figure = go.Figure()
    colour, symbol = colours(list(found.shortcut)), symbols(list(found.shortcut))
    for name, series in found.shortcut.items():
        figure.add_scatter(
            x=series.steps, y=series.values, name=name, mode="lines+markers",
            line={"color": colour[name], "width": 2}, marker={"symbol": symbol[name], "size": 7},
            hovertemplate=f"{name}, step %{{x}}: %{{y:.1%}} of them<extra></extra>",
        )  # fmt: skip
        if name in found.base:
            base = found.base[name]
            figure.add_scatter(
                x=[series.steps[0], series.steps[-1]], y=[base, base], mode="lines", hoverinfo="skip",
                name=f"{name}: share of all weights ({100 * base:.1f} %)",
                line={"color": colour[name], "width": 1, "dash": "dot"},
            )  # fmt: skip
    share = "" if np.isnan(found.top_share) else f"{100 * found.top_share:g} % of "
    return figure.update_layout(
        title=f"Which inputs the {share}first-layer weights with the highest GSNR read",
        xaxis_title="step", yaxis={"title": "share of these weights", "tickformat": ".0%", "rangemode": "tozero"},
        height=430, legend={"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0},
    )  # fmt: skip


def overlay(stats: Gsnr, tensor: str | None = None, at: int | None = None, ground: Ground = "score") -> go.Figure:
    """Which weights of one tensor the mask left out, on the ground of what ranked them.

    Args:
        tensor: The one that reads the inputs by default, else the first.
        at: A recorded step; the last one by default.
        ground: What the picture of the inputs shows: the median score of each input's weights, or the share left out.
    """
    found = stats.dropout
    if not found.overlays:
        return empty("No mask was recorded: this training masked nothing, or did not write the array 'gsnr_mask'.")
    name = tensor or found.first or next(iter(found.overlays))
    if name not in found.overlays:
        raise ConfigError(f"No mask of '{name}' was recorded. Recorded: {', '.join(found.overlays)}.")
    place = _step_place(found, at)
    chosen = found.overlays[name]
    pictured = found.input_shape is not None and chosen.by_input.shape[1] == sum(found.groups.values())
    figure = make_subplots(
        2 if pictured else 1, 2 if pictured else 1, column_widths=[0.68, 0.32] if pictured else None,
        row_heights=[0.66, 0.34] if pictured else None, horizontal_spacing=0.12, vertical_spacing=0.2,
        specs=[[{"rowspan": 2}, {}], [None, {}]] if pictured else None,
        subplot_titles=("", _picture_title(found, ground), "Left out of each group's weights") if pictured else None,
    )  # fmt: skip
    _matrix(figure, chosen, place, right_end=0.6 if pictured else 1.0)
    if pictured:
        _picture(figure, found, chosen, place, ground)
        _groups(figure, found, chosen, place)
    size = "×".join(map(str, chosen.shape))
    taken = float(chosen.by_input[place].mean())
    return figure.update_layout(
        title=f"Weights that the mask left out: {100 * taken:.1f} % of {short(name, 40)} ({size}), "
        f"step {found.mask_steps[place]}",
        height=480, legend={"orientation": "h", "y": -0.14, "yanchor": "top", "x": 0},
    )  # fmt: skip


def _step_place(found: Dropout, at: int | None) -> int:
    if at is None:
        return len(found.mask_steps) - 1
    places = np.flatnonzero(found.mask_steps == at)
    if not len(places):
        known = ", ".join(map(str, found.mask_steps))
        raise ConfigError(f"No mask was recorded at step {at}. Recorded: {known}.")
    return int(places[0])


def _matrix(figure: go.Figure, chosen: Overlay, place: int, right_end: float) -> None:
    score, left_out = chosen.score[place], chosen.left_out[place]
    if np.isfinite(score).any():
        low, high = np.nanquantile(score, SCALE)  # a few weights lie decades away from all others
        figure.add_heatmap(
            z=score, colorscale=SEQUENTIAL, row=1, col=1, zmin=low, zmax=high,
            hovertemplate="output %{y}, input %{x}: 10<sup>%{z:.1f}</sup><extra></extra>",
            colorbar={"title": {"text": "log<sub>10</sub> of what<br>ranked them"}, "thickness": 12, "x": right_end},
        )  # fmt: skip
    rows, columns = np.nonzero(left_out > 0)
    figure.add_scatter(
        x=columns, y=rows, mode="markers", name="left out",
        marker={"symbol": "square", "size": 5, "color": LEFT_OUT, "line": {"color": "#FFFFFF", "width": 0.5}},
        customdata=left_out[rows, columns], hovertemplate="output %{y}, input %{x}: left out<extra></extra>",
        row=1, col=1,
    )  # fmt: skip
    figure.update_xaxes(title_text="input", showgrid=False, row=1, col=1)
    figure.update_yaxes(title_text="output", showgrid=False, autorange="reversed", row=1, col=1)


def _picture_title(found: Dropout, ground: Ground) -> str:
    first = next(iter(found.groups))
    return f"{first}: median score" if ground == "score" else f"{first}: share left out"


def _picture(figure: go.Figure, found: Dropout, chosen: Overlay, place: int, ground: Ground) -> None:
    assert found.input_shape is not None
    values = chosen.score_by_input[place] if ground == "score" else chosen.by_input[place]
    n = found.input_shape[0] * found.input_shape[1]
    template = "10<sup>%{z:.2f}</sup>" if ground == "score" else "%{z:.1%} left out"
    figure.add_heatmap(
        z=values[:n].reshape(found.input_shape), colorscale=SEQUENTIAL, showscale=False,
        hovertemplate=f"row %{{y}}, column %{{x}}: {template}<extra></extra>", row=1, col=2,
    )  # fmt: skip
    figure.update_xaxes(visible=False, constrain="domain", row=1, col=2)
    figure.update_yaxes(visible=False, autorange="reversed", scaleanchor="x2", row=1, col=2)


def _groups(figure: go.Figure, found: Dropout, chosen: Overlay, place: int) -> None:
    figure.add_bar(
        x=found.by_group(chosen)[place], y=list(found.groups), orientation="h", showlegend=False,
        marker={"color": LEFT_OUT}, hovertemplate="%{y}: %{x:.1%} of its weights<extra></extra>", row=2, col=2,
    )  # fmt: skip
    figure.update_xaxes(tickformat=".0%", rangemode="tozero", nticks=5, row=2, col=2)
    figure.update_yaxes(autorange="reversed", row=2, col=2)


def churn(stats: Gsnr) -> go.Figure:
    """How far two masks in a row are the same, and what the net can do without the weights of the last one."""
    found = stats.dropout
    if not len(found.overlap.steps):
        return empty("No mask was followed from step to step: log the scalar 'mask overlap'.")
    figure = make_subplots(
        1, 2, horizontal_spacing=0.1,
        subplot_titles=("Weights left out twice in a row", "Accuracy on training samples"),
    )  # fmt: skip
    figure.add_scatter(
        x=found.overlap.steps, y=found.overlap.values, mode="lines+markers", showlegend=False,
        line={"color": CATEGORICAL[0], "width": 2}, marker={"size": 5},
        hovertemplate="step %{x}: %{y:.2f}<extra></extra>", row=1, col=1,
    )  # fmt: skip
    for place, (name, series) in enumerate((("whole net", found.whole), ("without what was left out", found.masked))):
        figure.add_scatter(
            x=series.steps, y=series.values, name=name, mode="lines+markers",
            line={"color": CATEGORICAL[2 + 3 * place], "width": 2, "dash": ("solid", "dash")[place]},
            marker={"size": 7, "symbol": ("circle", "square")[place]},
            hovertemplate=f"{name}, step %{{x}}: %{{y:.1%}}<extra></extra>", row=1, col=2,
        )  # fmt: skip
    figure.update_xaxes(title_text="step")
    figure.update_yaxes(title_text="Jaccard index of the two masks", range=[-0.02, 1.02], row=1, col=1)
    figure.update_yaxes(title_text="accuracy", tickformat=".0%", range=[-0.02, 1.02], row=1, col=2)
    return figure.update_layout(
        title="Is it the same mask again, and does the net still need what it leaves out?", height=430,
        legend={"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0.55},
    )  # fmt: skip


def cliff(stats: Gsnr) -> go.Figure:
    """Accuracy of the whole net by the ratio of masked weights, for every rule."""
    found = stats.dropout.cliff
    if found is None:
        return empty("This run trained with one ratio. The recipe gsnr-shortcut has a run that sweeps it: ratio-sweep.")
    figure = make_subplots(
        1, 2, shared_yaxes=True, horizontal_spacing=0.04,
        subplot_titles=("New domain, the shortcut broken", "Domain as in training, new samples"),
    )  # fmt: skip
    for column, where in enumerate(("unseen", "seen"), start=1):
        _cliff_lines(figure, found, where, column)
    names = [f"{100 * ratio:g} %" if ratio else "none" for ratio in found.ratios]
    figure.update_xaxes(
        title_text="weights masked at each step", tickvals=list(range(len(names))), ticktext=names,
        range=[-0.3, len(names) - 0.7],
    )  # fmt: skip
    figure.update_yaxes(tickformat=".0%", range=[0, 1.02])
    figure.update_yaxes(title_text="accuracy of the whole net", col=1)
    intervals = f"; bars: 95 % intervals over {found.repetitions} repetitions" if found.repetitions > 1 else ""
    return figure.update_layout(
        title=f"Where masking more turns into collapse{intervals}", height=430,
        legend={"orientation": "h", "y": -0.22, "yanchor": "top", "x": 0},
    )  # fmt: skip


def _cliff_lines(figure: go.Figure, found: Cliff, where: str, column: int) -> None:
    colour, symbol = colours(found.rules), symbols(found.rules)
    shift = np.linspace(-0.08, 0.08, len(found.rules))
    for place, rule in enumerate(found.rules):
        figure.add_scatter(
            x=np.arange(len(found.ratios)) + shift[place], y=found.mean[where, rule], mode="lines+markers",
            name=RULE_NAMES.get(rule, rule), legendgroup=rule, showlegend=column == 1,
            error_y={"array": found.half[where, rule], "color": faded(colour[rule], 0.6), "thickness": 1.2, "width": 3},
            line={"color": colour[rule], "width": 2}, marker={"symbol": symbol[rule], "size": 8},
            customdata=found.ratios,
            hovertemplate=f"{RULE_NAMES.get(rule, rule)}, %{{customdata:.0%}} masked: %{{y:.1%}}<extra></extra>",
            row=1, col=column,
        )  # fmt: skip
    figure.add_hline(y=0.1, line={"color": UNKNOWN, "width": 1, "dash": "dot"}, row=1, col=column)


#: Rule -> in words.
RULE_NAMES = {
    "random": "at random",
    "domains": "highest GSNR between domains",
    "samples": "highest GSNR between samples",
    "size": "largest gradient",
}
