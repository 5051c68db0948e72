"""Figures of the GSNR lens; they draw what the statistics hold and compute nothing."""

from __future__ import annotations

from typing import Literal

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from workbench.core import ConfigError
from workbench.core.schema import GSNR_QUANTILES
from workbench.lenses.empty_figure import empty
from workbench.lenses.gsnr.correction import LOG10_EDGES
from workbench.lenses.gsnr.statistics import MASK_RATIOS, Gsnr, Span
from workbench.lenses.palette import CATEGORICAL, SEQUENTIAL, UNKNOWN, colours, dashes, faded, symbols

#: Panels of the first picture; beyond, modules are chosen evenly and the others are one choice away.
MAX_PANELS = 8
#: Lines that can still be told apart.
MAX_LINES = 10
#: Ridges over training.
MAX_RIDGES = 9
WIDTH = LOG10_EDGES[1] - LOG10_EDGES[0]
#: Where values at or below the lowest edge are drawn.
FLOOR = LOG10_EDGES[0] - WIDTH / 2
CENTRES = np.concatenate([[FLOOR], LOG10_EDGES[:-1] + WIDTH / 2])
TICKS = [-4, -3, -2, -1, 0, 1, 2, 3]


def part_index(stats: Gsnr, part: str) -> int:
    """Position of a part by its name. Raises ConfigError naming some of the parts otherwise."""
    if part not in stats.parts:
        known = ", ".join(stats.parts[:20])
        raise ConfigError(f"No GSNR was recorded for '{part}'. Recorded: {known}.")
    return stats.parts.index(part)


def distribution(
    stats: Gsnr, part: str | None = None, style: Literal["heat map", "ridgeline"] = "heat map", tensors: bool = False
) -> go.Figure:
    """How the GSNR of single parameters is spread, over training.

    Args:
        part: A module or parameter tensor; every module side by side by default.
        style: "heat map" (all steps) or "ridgeline" (some steps, one above the other).
        tensors: With a module as ``part``: its parameter tensors side by side.
    """
    chosen = _panels(stats, part, tensors)
    rows = -(-len(chosen) // 4)
    columns = -(-len(chosen) // rows)
    figure = make_subplots(
        rows, columns, shared_xaxes=True, shared_yaxes=True, horizontal_spacing=0.015,
        vertical_spacing=0.09 if rows > 1 else 0.0,
        subplot_titles=[short(stats.parts[index]) for index in chosen] if len(chosen) > 1 else None,
    )  # fmt: skip
    top = _highest_share(stats, chosen)
    draw = _ridges if style == "ridgeline" else _heat
    for place, index in enumerate(chosen):
        draw(figure, stats, index, place // columns + 1, place % columns + 1, top)
        if place + columns >= len(chosen):  # the lowest panel of its column
            figure.update_xaxes(
                title_text="step", showticklabels=True, row=place // columns + 1, col=place % columns + 1
            )
    _log_axis(figure)
    figure.update_yaxes(range=_used_range(stats, chosen))
    figure.update_yaxes(title_text="GSNR of a parameter", col=1)
    what = short(stats.parts[chosen[0]], 50) if len(chosen) == 1 else f"{len(chosen)} {_kind(stats, chosen)}"
    hidden = stats.n_modules - len(chosen) if part is None else 0
    more = f" ({hidden} more can be chosen)" if hidden > 0 else ""
    return figure.update_layout(
        title=f"Spread of GSNR over parameters, corrected for the number of samples: {what}{more}",
        height=420 if rows == 1 else 130 + 168 * rows,
        coloraxis={
            "colorscale": SEQUENTIAL, "cmin": 0, "cmax": top,
            "colorbar": {"title": {"text": "share of<br>parameters"}, "tickformat": ".0%", "thickness": 14},
        },
    )  # fmt: skip


def _panels(stats: Gsnr, part: str | None, tensors: bool) -> list[int]:
    if part is None:
        modules = np.arange(1, 1 + stats.n_modules)
        picked = (
            modules if len(modules) <= MAX_PANELS else np.linspace(1, stats.n_modules, MAX_PANELS).round().astype(int)
        )
        return picked.tolist()
    index = part_index(stats, part)
    inside = np.flatnonzero(stats.module_of[1 + stats.n_modules :] == index) + 1 + stats.n_modules
    return inside[:MAX_PANELS].tolist() if tensors and index > 0 and len(inside) else [index]


def _kind(stats: Gsnr, chosen: list[int]) -> str:
    return "modules" if chosen[0] <= stats.n_modules else "parameter tensors"


def _highest_share(stats: Gsnr, chosen: list[int]) -> float:
    """The end of the colour scale: the highest share of a bin above the floor."""
    found = stats.density[:, chosen, 1:]
    highest = np.nan_to_num(found).max(initial=0.0)
    return float(np.clip(highest, 0.05, 1.0))


def _used_range(stats: Gsnr, chosen: list[int]) -> list[float]:
    """From the floor to the highest bin that holds a thousandth of the parameters."""
    used = np.flatnonzero((np.nan_to_num(stats.density[:, chosen]) > 1e-3).any(axis=(0, 1)))
    highest = CENTRES[used[-1]] if len(used) else CENTRES[-1]
    return [FLOOR - WIDTH / 2, float(highest + 1.5 * WIDTH)]


def _heat(figure: go.Figure, stats: Gsnr, index: int, row: int, column: int, top: float) -> None:
    figure.add_heatmap(
        x=stats.steps, y=CENTRES, z=stats.density[:, index].T, coloraxis="coloraxis", zsmooth=False,
        hovertemplate="step %{x}, GSNR about 10<sup>%{y:.2f}</sup>: %{z:.1%}"
        f"<extra>{short(stats.parts[index])}</extra>",
        row=row, col=column,
    )  # fmt: skip
    median = _on_axis(stats.quantiles[:, index, 2])
    figure.add_scatter(
        x=stats.steps, y=median, mode="lines", line={"color": "#FFFFFF", "width": 2}, showlegend=False,
        hoverinfo="skip", row=row, col=column,
    )  # fmt: skip


def _ridges(figure: go.Figure, stats: Gsnr, index: int, row: int, column: int, top: float) -> None:
    picked = np.unique(np.linspace(0, len(stats.steps) - 1, MAX_RIDGES).round().astype(int))
    span = float(stats.steps[-1] - stats.steps[0]) or 1.0
    scale = 0.9 * span / max(1, len(picked) - 1) / top
    for at in picked.tolist():
        share = np.minimum(np.nan_to_num(stats.density[at, index]), top)
        step = float(stats.steps[at])
        figure.add_scatter(
            x=np.concatenate([[step], step + scale * share, [step]]),
            y=np.concatenate([CENTRES[:1], CENTRES, CENTRES[-1:]]),
            mode="lines", line={"color": CATEGORICAL[0], "width": 1.5}, fill="toself",
            fillcolor=faded(CATEGORICAL[0], 0.35), showlegend=False, name=f"step {stats.steps[at]}",
            hoverinfo="name", row=row, col=column,
        )  # fmt: skip


def quantiles(stats: Gsnr, part: str | None = None) -> go.Figure:
    """Quantiles of the GSNR of single parameters over training: medians of modules, or five quantiles of one part."""
    figure = go.Figure()
    if part is None:
        chosen = _panels(stats, None, False)
        names = [stats.parts[index] for index in chosen]
        colour, dash, symbol = colours(names), dashes(names), symbols(names)
        for index, name in zip(chosen, names, strict=True):
            figure.add_scatter(
                x=stats.steps, y=_on_axis(stats.quantiles[:, index, 2]), name=short(name), mode="lines+markers",
                line={"color": colour[name], "dash": dash[name], "width": 2},
                marker={"symbol": symbol[name], "size": 6}, customdata=stats.quantiles[:, index, 2],
                hovertemplate=f"{name}, step %{{x}}: median %{{customdata:.3g}}<extra></extra>",
            )  # fmt: skip
        title = "Median GSNR of the parameters of each module"
    else:
        _fan(figure, stats, part_index(stats, part))
        title = f"GSNR of the parameters of {short(part, 50)}"
    _log_axis(figure)
    return figure.update_layout(
        title=f"{title}, corrected for the number of samples", xaxis_title="step", yaxis_title="GSNR of a parameter",
        height=430, legend={"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0},
    )  # fmt: skip


def _fan(figure: go.Figure, stats: Gsnr, index: int) -> None:
    """The middle 50 and 90 % of the parameters as bands, the median as a line."""
    found = _on_axis(stats.quantiles[:, index])
    colour = CATEGORICAL[0]
    for low, high, opacity in ((0, 4, 0.16), (1, 3, 0.32)):
        inside = GSNR_QUANTILES[high] - GSNR_QUANTILES[low]
        figure.add_scatter(
            x=np.concatenate([stats.steps, stats.steps[::-1]]),
            y=np.concatenate([found[:, high], found[::-1, low]]),
            fill="toself", fillcolor=faded(colour, opacity), line={"width": 0}, hoverinfo="skip",
            name=f"middle {inside:.0%} of the parameters",
        )  # fmt: skip
    figure.add_scatter(
        x=stats.steps, y=found[:, 2], mode="lines+markers", line={"color": colour, "width": 2}, name="median",
        customdata=stats.quantiles[:, index],
        hovertemplate="step %{x}: 5 % %{customdata[0]:.2g}, 25 % %{customdata[1]:.2g}, median %{customdata[2]:.2g}, "
        "75 % %{customdata[3]:.2g}, 95 % %{customdata[4]:.2g}<extra></extra>",
    )  # fmt: skip


def modules(stats: Gsnr, tensors: bool = False) -> go.Figure:
    """GSNR of every module as a whole over training, first layer on top; collapses are marked."""
    first, last = (1 + stats.n_modules, len(stats.parts)) if tensors else (1, 1 + stats.n_modules)
    names = list(stats.parts[first:last])
    values = stats.snr[:, first:last].T
    figure = go.Figure(
        go.Heatmap(
            x=stats.steps, y=names, z=np.log10(np.where(values > 0, values, np.nan)), colorscale=SEQUENTIAL,
            customdata=np.stack([values, stats.signal_share[:, first:last].T], axis=-1),
            hovertemplate="%{y}, step %{x}<br>GSNR as a whole %{customdata[0]:.3g}"
            "<br>parameters with a signal: %{customdata[1]:.0%}<extra></extra>", hoverongaps=False,
            colorbar={"title": {"text": "GSNR"}, "thickness": 14, **_powers(values)},
        )
    )  # fmt: skip
    if not tensors:
        marked = stats.collapses[stats.collapses["part"].isin(stats.modules)]
        figure.add_scatter(
            x=marked["step"], y=marked["part"], mode="markers",
            marker={"symbol": "triangle-down", "size": 13, "color": "#D55E00", "line": {"color": "#FFF", "width": 1}},
            name="falls below a tenth of its peak", showlegend=True,
            hovertemplate="step %{x}: below a tenth of its peak<extra></extra>",
        )  # fmt: skip
    height = _name_rows(figure, names)
    kind = "parameter tensor" if tensors else "module"
    return figure.update_layout(
        title=f"GSNR of every {kind} as a whole; empty where no signal is left", xaxis_title="step",
        height=200 + height, legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
    )  # fmt: skip


def domains(stats: Gsnr, part: str | None = None) -> go.Figure:
    """GSNR within every domain, and how far the domains' gradients agree, over training."""
    if not stats.domains:
        return empty("The GSNR was recorded over all samples together: pass domains= to record it within each.")
    index = 0 if part is None else part_index(stats, part)
    if index > stats.n_modules:
        raise ConfigError(f"Domains are compared for modules, not for the parameter tensor '{part}'.")
    figure = make_subplots(
        1, 2, horizontal_spacing=0.11,
        subplot_titles=("GSNR within each domain", "Mean cosine between domains"),
    )  # fmt: skip
    colour, dash, symbol = colours(stats.domains), dashes(stats.domains), symbols(stats.domains)
    for place, domain in enumerate(stats.domains):
        values = stats.domain_snr[:, place, index]
        figure.add_scatter(
            x=stats.steps, y=np.where(values > 0, values, np.nan), name=domain, mode="lines+markers",
            line={"color": colour[domain], "dash": dash[domain], "width": 2},
            marker={"symbol": symbol[domain], "size": 6},
            hovertemplate=f"{domain}, step %{{x}}: %{{y:.3g}}<extra></extra>", row=1, col=1,
        )  # fmt: skip
    figure.add_scatter(
        x=stats.steps, y=stats.agreement[:, index], mode="lines+markers", showlegend=False,
        line={"color": "#8C6BB1", "width": 2}, marker={"size": 6},
        hovertemplate="step %{x}: cosine %{y:.2f}<extra></extra>", row=1, col=2,
    )  # fmt: skip
    figure.add_hline(y=0, line={"color": UNKNOWN, "width": 1}, row=1, col=2)
    figure.update_xaxes(title_text="step")
    figure.update_yaxes(title_text="GSNR as a whole (log scale)", type="log", dtick="D2", row=1, col=1)
    lowest = float(np.nan_to_num(stats.agreement[:, index], nan=1.0).min())
    figure.update_yaxes(
        title_text="cosine: 1 agree, below 0 pull apart", range=[min(-0.1, 1.1 * lowest), 1.08], row=1, col=2
    )
    return figure.update_layout(
        title=f"Domains in {short(stats.parts[index], 50)}", height=430,
        legend={"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0},
    )  # fmt: skip


def generalisation(stats: Gsnr) -> go.Figure:
    """The one-step generalisation ratio over training, and which modules take how much away from it."""
    figure = make_subplots(
        2, 1, shared_xaxes=True, row_heights=[0.52, 0.48], vertical_spacing=0.12,
        subplot_titles=(
            f"Share of a step's gain that new data would share, for {stats.n_train:,} training samples",
            "What each module takes away",
        ),
    )  # fmt: skip
    figure.add_scatter(
        x=stats.steps, y=stats.osgr, mode="lines+markers", name="predicted ratio", showlegend=False,
        line={"color": CATEGORICAL[0], "width": 2}, marker={"size": 6},
        hovertemplate="step %{x}: %{y:.3f}<extra></extra>", row=1, col=1,
    )  # fmt: skip
    for name, span, colour in (("highest", stats.osgr_best, CATEGORICAL[2]), ("last", stats.osgr_last, CATEGORICAL[5])):
        _span_box(figure, name, span, colour)
    for level, text in ((0.5, "half"), (0.0, "nothing")):
        figure.add_hline(
            y=level, line={"color": UNKNOWN, "width": 1, "dash": "dot"}, row=1, col=1,
            annotation={"text": text, "showarrow": False, "xanchor": "right", "font": {"color": UNKNOWN}},
        )  # fmt: skip
    if (since := stats.mostly_noise) is not None:
        side = "left" if 2 * since < stats.steps[0] + stats.steps[-1] else "right"
        figure.add_vline(
            x=since, line={"color": UNKNOWN, "width": 1.5, "dash": "dash"}, row=1, col=1,
            annotation={"text": f"from step {since} on, steps mostly fit noise", "xanchor": side, "showarrow": False},
        )  # fmt: skip
    total = np.nan_to_num(stats.loss_share).sum(axis=0)
    order = np.argsort(-total, kind="stable")[:MAX_LINES]
    shade = colours(stats.modules)
    for index in sorted(order.tolist()):
        name = stats.modules[index]
        figure.add_bar(
            x=stats.steps, y=stats.loss_share[:, index], name=short(name),
            marker={"color": shade[name], "line": {"width": 0}},
            hovertemplate=f"{name}, step %{{x}}: %{{y:.1%}}<extra></extra>", row=2, col=1,
        )  # fmt: skip
    figure.update_xaxes(title_text="step", row=2, col=1)
    lowest = float(np.nan_to_num(stats.osgr, nan=1.0).min())
    figure.update_yaxes(title_text="ratio", range=[max(-0.5, min(-0.05, 1.1 * lowest)), 1.08], row=1, col=1)
    figure.update_yaxes(title_text="share lost", tickformat=".0%", row=2, col=1)
    return figure.update_layout(
        title="Predicted one-step generalisation ratio", barmode="stack", bargap=0.1, height=620,
        legend={"orientation": "h", "y": -0.12, "yanchor": "top", "x": 0},
    )  # fmt: skip


def mask(stats: Gsnr, ratio: float = 0.05) -> go.Figure:
    """What GSNR dropout would take from every module, were it to drop this share of all weights at each step.

    Args:
        ratio: One of ``statistics.MASK_RATIOS``.
    """
    if ratio not in MASK_RATIOS:
        raise ConfigError(f"The mask was previewed at the ratios {', '.join(map(str, MASK_RATIOS))}; got {ratio}.")
    taken = stats.masked[:, MASK_RATIOS.index(ratio)].T
    figure = go.Figure(
        go.Heatmap(
            x=stats.steps, y=list(stats.modules), z=taken, colorscale=SEQUENTIAL, zmin=0, hoverongaps=False,
            zmax=float(max(ratio, np.nan_to_num(taken).max(initial=0.0))),
            hovertemplate="%{y}, step %{x}: %{z:.1%} of its weights<extra></extra>",
            colorbar={"title": {"text": "share of<br>its weights"}, "tickformat": ".0%", "thickness": 14},
        )
    )  # fmt: skip
    height = _name_rows(figure, list(stats.modules))
    return figure.update_layout(
        title=f"What dropping the {100 * ratio:g} % of weights with the highest GSNR takes from each module",
        xaxis_title="step", height=190 + height,
    )  # fmt: skip


def _span_box(figure: go.Figure, name: str, span: Span, colour: str) -> None:
    if not np.isfinite(span.low):
        return
    figure.add_scatter(
        x=[span.first, span.last, span.last, span.first, span.first],
        y=[span.low, span.low, span.high, span.high, span.low], fill="toself", fillcolor=faded(colour, 0.25),
        line={"color": colour, "width": 1}, mode="lines", name=f"{name} {span.n} recorded steps: pooled, 95 % interval",
        hoverinfo="name", row=1, col=1,
    )  # fmt: skip


def short(name: str, longest: int = 26) -> str:
    """A module name that fits beside an axis: the end is what tells modules apart."""
    return name if len(name) <= longest else "…" + name[-(longest - 1) :]


def _on_axis(values: np.ndarray) -> np.ndarray:
    """log10 of a GSNR; what is not above the lowest edge goes to the floor, NaN stays."""
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.log10(values)
    lifted = np.where(np.isnan(values), np.nan, np.fmax(log, FLOOR))
    return np.minimum(lifted, LOG10_EDGES[-1])


def _log_axis(figure: go.Figure) -> None:
    figure.update_yaxes(
        tickvals=[FLOOR, *TICKS], ticktext=["none", *[f"10<sup>{tick}</sup>" if tick else "1" for tick in TICKS]],
        zeroline=False,
    )  # fmt: skip


def _name_rows(figure: go.Figure, names: list[str]) -> int:
    """The first name on top, as many labels as fit. Returns the height of all rows in pixels."""
    height = float(np.clip(900 / max(1, len(names)), 6, 34))
    kept = names[:: max(1, int(np.ceil(15 / height)))]
    figure.update_yaxes(
        categoryorder="array", categoryarray=names, tickvals=kept, ticktext=[short(name, 34) for name in kept],
        range=[len(names) - 0.5, -0.5], automargin=True, showgrid=False,
    )  # fmt: skip
    return int(height * len(names))


def _powers(values: np.ndarray) -> dict[str, object]:
    """Ticks of a colour bar of log10 values."""
    positive = values[values > 0]
    if not len(positive):
        return {}
    low, high = np.floor(np.log10(positive.min())), np.ceil(np.log10(positive.max()))
    ticks = np.arange(low, high + 1)
    return {"tickvals": ticks, "ticktext": [f"{10**tick:g}" for tick in ticks]}
