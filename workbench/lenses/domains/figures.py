"""Charts of distances between domains. Each draws what the statistics hold and computes nothing."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.core import ConfigError
from workbench.lenses import palette
from workbench.lenses.domains.measure import MEASURES, REFERENCE
from workbench.lenses.domains.statistics import DomainShift
from workbench.lenses.domains.verdicts import ALPHA, p_text, reference_name
from workbench.lenses.empty_figure import empty

if TYPE_CHECKING:
    import plotly.graph_objects as go

NO_CLASSES = "No class of '{domain}' is known in both the domain and its reference: record target_<task>."


def chosen(known: tuple[Any, ...], wanted: Any, what: str) -> Any:
    """The wanted layer, step or domain, the last one by default.

    Options come from addresses as text, so numbers are compared by their text.
    """
    if wanted is None:
        return known[-1]
    for candidate in known:
        if str(candidate) == str(wanted):
            return candidate
    raise ConfigError(f"There is no {what} '{wanted}'. Choose from: {', '.join(map(str, known))}.")


def measure_name(measure: str) -> str:
    if measure not in MEASURES:
        raise ConfigError(f"There is no measure '{measure}'. Measures: {', '.join(MEASURES)}.")
    return MEASURES[measure]


def label(stats: DomainShift, domain: str) -> str:
    return f"{domain} (held out)" if stats.held_out[stats.domains.index(domain)] else domain


def pair_name(domain_a: str, domain_b: str) -> str:
    """What a cell of the matrix stands for."""
    return f"{domain_a} and {domain_b}"


def distance_matrix(
    stats: DomainShift, measure: str = "mmd2", layer: str | None = None, step: int | None = None
) -> go.Figure:
    """Every pair of domains: distance beyond chance and corrected p-value; cells no different from chance are grey."""
    import plotly.graph_objects as go

    title = measure_name(measure)
    layer, step = chosen(stats.layers, layer, "layer"), chosen(stats.steps, step, "step")
    names = [wrapped(label(stats, domain)) for domain in stats.domains]
    at = _rows(stats, measure, layer=layer, step=step)
    at = at[at["domain_b"] != REFERENCE]
    if at.empty:
        return empty(f"{title} is computed at the last step, {stats.steps[-1]}, only.")
    value, p, n, high = (np.full((len(names), len(names)), np.nan) for _ in range(4))
    a, b = (pd.Categorical(at[column], list(stats.domains)).codes for column in ("domain_a", "domain_b"))
    for grid, column in ((value, "excess"), (p, "p_adjusted"), (n, "n"), (high, "null_excess")):
        grid[a, b] = grid[b, a] = at[column]
    beyond = p <= ALPHA
    text = np.full(value.shape, "", dtype=object)
    for i, j in zip(*np.nonzero(~np.isnan(value)), strict=True):
        text[i, j] = f"{value[i, j]:.3g}<br>{p_text(p[i, j])}"
    hover = "%{y} and %{x}<br>" + title + " %{z:.4g}<br>chance stays below %{customdata[0]:.3g}"
    hover += "<br>%{customdata[1]:.0f} samples a side<extra></extra>"
    shared: dict[str, Any] = {"customdata": np.stack([high, n], axis=-1), "hovertemplate": hover}
    shared |= {"x": names, "y": names}
    shared["meta"] = {"cells": [[pair_name(a, b) if a != b else None for b in stats.domains] for a in stats.domains]}
    top = float(np.nanmax(np.where(beyond, value, np.nan))) if beyond.any() else 1.0
    fig = go.Figure(
        [
            go.Heatmap(
                z=np.where(beyond, value, np.nan), zmin=0, zmax=top, colorscale=palette.SEQUENTIAL, xgap=2, ygap=2,
                text=np.where(beyond, text, ""), texttemplate="%{text}", colorbar_title=wrapped(title, 16), **shared,
            ),
            go.Heatmap(
                z=np.where(beyond, np.nan, value), showscale=False, xgap=2, ygap=2,
                colorscale=[[0, palette.UNKNOWN], [1, palette.UNKNOWN]],
                text=np.where(beyond, "", text), texttemplate="%{text}", **shared,
            ),
        ]
    )  # fmt: skip
    fig.update_layout(
        title={
            "text": f"{title.split(',')[0]} between domains at {layer}, step {step}",
            "subtitle": {"text": "Grey: no different from chance (corrected p above 0.05)"},
        },
        height=max(420, 120 + 62 * len(names)),
        margin={"l": 20, "r": 20, "t": 80, "b": 20},
    )
    fig.update_xaxes(automargin=True, showgrid=False, tickangle=0)
    fig.update_yaxes(automargin=True, showgrid=False, autorange="reversed")
    return fig


def over_training(stats: DomainShift, measure: str = "mmd2", layer: str | None = None) -> go.Figure:
    """Distance of every domain from its reference at the recorded steps of one layer."""
    layer = chosen(stats.layers, layer, "layer")
    rows = _rows(stats, measure, layer=layer)
    if measure == "sliced":
        return empty("The sliced Wasserstein distance is computed at the last step only; choose another distance.")
    fig = _curves(stats, rows[rows["domain_b"] == REFERENCE], "step", stats.steps, measure)
    fig.update_layout(title={"text": f"Distance over training at {layer}", "subtitle": {"text": _against(stats)}})
    fig.update_xaxes(title="training step", tickmode="array", tickvals=np.array(stats.steps))
    return fig


def over_layers(stats: DomainShift, measure: str = "pad", step: int | None = None) -> go.Figure:
    """Distance of every domain from its reference along the network at one step."""
    step = chosen(stats.steps, step, "step")
    rows = _rows(stats, measure, step=step)
    if rows.empty:
        return empty(f"{measure_name(measure)} is computed at the last step, {stats.steps[-1]}, only.")
    fig = _curves(stats, rows[rows["domain_b"] == REFERENCE], "layer", stats.layers, measure)
    title = f"Distance through the network at step {step}"
    fig.update_layout(title={"text": title, "subtitle": {"text": _against(stats)}})
    fig.update_xaxes(title="layer, from input to output", type="category")
    return fig


def mixing_figure(stats: DomainShift, step: int | None = None) -> go.Figure:
    """k-nearest-neighbour mixing of every domain, over all points and within classes, along the network."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    step = chosen(stats.steps, step, "step")
    at = stats.mixing[(stats.mixing["step"] == step) & (stats.mixing["domain"] != "(all)")]
    scopes = [scope for scope in ("all", "within class") if scope in set(at["scope"])]
    titles = {"all": "among all samples", "within class": "among samples of the same class"}
    fig = make_subplots(1, len(scopes), shared_yaxes=True, subplot_titles=[titles[scope] for scope in scopes])
    colours, symbols = palette.colours(stats.domains), palette.symbols(stats.domains)
    for column, scope in enumerate(scopes, start=1):
        for domain in stats.domains:
            rows = _in_order(at[(at["scope"] == scope) & (at["domain"] == domain)], "layer", stats.layers)
            fig.add_trace(
                go.Scatter(
                    x=rows["layer"].to_numpy(), y=rows["value"].to_numpy(), name=label(stats, domain),
                    legendgroup=domain, showlegend=column == 1, mode="lines+markers",
                    line={"color": colours[domain]}, marker={"symbol": symbols[domain], "size": 9},
                    customdata=rows[["null_low", "k", "n"]].to_numpy(dtype=float),
                    hovertemplate="%{x}: mixing %{y:.2f}<br>chance stays above %{customdata[0]:.2f}<br>"
                    "%{customdata[1]:.0f} neighbours, n = %{customdata[2]:.0f}",
                ),
                row=1, col=column,
            )  # fmt: skip
        low = at.loc[at["scope"] == scope, "null_low"].min()
        fig.add_hline(y=float(low), line={"dash": "dot", "color": palette.UNKNOWN}, row=1, col=column)
    fig.update_yaxes(rangemode="tozero", title="mixing: 0 = apart, 1 = as by chance", row=1, col=1)
    fig.update_xaxes(title="layer, from input to output", type="category")
    return fig.update_layout(
        title={
            "text": f"Are a sample's nearest neighbours from other domains? Step {step}",
            "subtitle": {"text": "Under the dotted line: less mixed than 95 % of random relabellings"},
        },
        height=460,
        margin={"l": 20, "r": 20, "t": 110, "b": 20},
        legend={"title": "domain"},
    )


def shifted_classes(
    stats: DomainShift, domain: str | None, layer: str | None, step: int | None
) -> tuple[str, str, int, pd.DataFrame]:
    """The chosen domain (by default the furthest), layer and step; its classes' shifts from the reference, largest
    first."""
    layer, step = chosen(stats.layers, layer, "layer"), chosen(stats.steps, step, "step")
    domain = chosen(stats.domains, domain or furthest(stats, layer, step), "domain")
    rows = stats.class_shift
    rows = rows[(rows["layer"] == layer) & (rows["step"] == step) & (rows["domain_a"] == domain)]
    return domain, layer, step, rows[rows["domain_b"] == REFERENCE].sort_values("shift", ascending=False)


def class_bars(
    stats: DomainShift, domain: str | None = None, layer: str | None = None, step: int | None = None
) -> go.Figure:
    """How far each class of a domain lies from the same class in the reference, largest first."""
    import plotly.graph_objects as go

    domain, layer, step, rows = shifted_classes(stats, domain, layer, step)
    if rows.empty:
        return empty(NO_CLASSES.format(domain=domain))
    beyond = (rows["p_adjusted"] <= ALPHA).to_numpy()
    colour = palette.colours(stats.domains)[domain]
    names = rows["class"].astype(str).to_numpy()
    fig = go.Figure(
        go.Bar(
            x=names, y=rows["shift"].to_numpy(), name="shift",
            marker={
                "color": np.where(beyond, colour, palette.UNKNOWN), "pattern_shape": np.where(beyond, "", "/"),
            },
            customdata=rows[["p_adjusted", "n_a", "n_b"]].to_numpy(dtype=float),
            hovertemplate="%{x}: %{y:.2f} radii<br>corrected p = %{customdata[0]:.3g}<br>"
            "n = %{customdata[1]:.0f} and %{customdata[2]:.0f}<extra></extra>",
        )
    )  # fmt: skip
    fig.add_scatter(
        x=names, y=rows["null_high"].to_numpy(), mode="markers", name="chance stays below",
        marker={"symbol": "line-ew-open", "size": 22, "color": palette.UNKNOWN, "line": {"width": 3}},
        hovertemplate="chance stays below %{y:.2f}<extra></extra>",
    )  # fmt: skip
    coherence = float(rows["coherence"].iloc[0])
    kind = "" if np.isnan(coherence) else f"; coherence {coherence:.2f} (1 = all classes move together)"
    return fig.update_layout(
        title={
            "text": f"How far each class of {label(stats, domain)} moved at {layer}, step {step}",
            "subtitle": {"text": f"Against {reference_name(stats, domain)}; hatched: no more than chance{kind}"},
        },
        xaxis={"title": "class", "type": "category", "automargin": True},
        yaxis={"title": "shift of the class centre, in radii of the class"},
        height=440,
        margin={"l": 20, "r": 20, "t": 90, "b": 20},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1, "xanchor": "right"},
    )


def furthest(stats: DomainShift, layer: str | None = None, step: int | None = None) -> str:
    """The domain with the largest MMD² from its reference, at the last layer and step by default."""
    layer, step = chosen(stats.layers, layer, "layer"), chosen(stats.steps, step, "step")
    rows = _rows(stats, "mmd2", layer=layer, step=step)
    rows = rows[rows["domain_b"] == REFERENCE]
    return stats.domains[-1] if rows.empty else str(rows.iloc[int(rows["excess"].argmax())]["domain_a"])


def _rows(stats: DomainShift, measure: str, layer: str | None = None, step: int | None = None) -> pd.DataFrame:
    measure_name(measure)
    rows = stats.comparisons[stats.comparisons["measure"] == measure]
    rows = rows if layer is None else rows[rows["layer"] == layer]
    return rows if step is None else rows[rows["step"] == step]


def _in_order(rows: pd.DataFrame, column: str, order: tuple[Any, ...]) -> pd.DataFrame:
    return rows.sort_values(column, key=lambda values: values.map({item: i for i, item in enumerate(order)}))


def _against(stats: DomainShift) -> str:
    other = "the training domains" if any(stats.held_out) else "all other domains"
    return f"Each domain against {other}; shaded: what chance alone reaches in 95 % of relabellings"


def wrapped(text: str, width: int = 14) -> str:
    """A name broken into lines of about ``width`` characters, so that an axis need not slant it."""
    return "<br>".join(textwrap.wrap(text, width, break_long_words=False)) or text


def _curves(stats: DomainShift, rows: pd.DataFrame, column: str, order: tuple[Any, ...], measure: str) -> go.Figure:
    """One line a domain, filled markers where the shift is beyond chance, error bars where an interval exists."""
    import plotly.graph_objects as go

    colours, symbols, dashes = (pick(stats.domains) for pick in (palette.colours, palette.symbols, palette.dashes))
    fig = go.Figure()
    null = _in_order(rows.groupby(column, sort=False)["null_excess"].max().reset_index(), column, order)
    fig.add_scatter(
        x=null[column].to_numpy(), y=null["null_excess"].to_numpy(), mode="lines", fill="tozeroy", hoverinfo="skip",
        fillcolor=palette.faded(palette.UNKNOWN, 0.3), line={"width": 0}, name="chance",
    )  # fmt: skip
    for domain in stats.domains:
        line = _in_order(rows[rows["domain_a"] == domain], column, order)
        beyond = (line["p_adjusted"] <= ALPHA).to_numpy()
        value = line["excess"].to_numpy()
        bars = None
        if line["low"].notna().any():
            high, low = line["high"].to_numpy() - value, value - line["low"].to_numpy()
            bars = {"type": "data", "symmetric": False, "array": high, "arrayminus": low, "thickness": 1.2, "width": 3}
        fig.add_scatter(
            x=line[column].to_numpy(), y=value, name=label(stats, domain), mode="lines+markers", error_y=bars,
            line={"color": colours[domain], "dash": dashes[domain], "width": 2},
            marker={"symbol": np.where(beyond, symbols[domain], symbols[domain] + "-open"), "size": 10},
            customdata=line[["null_excess", "p_adjusted", "n"]].to_numpy(dtype=float),
            hovertemplate="%{x}: %{y:.3g}<br>chance stays below %{customdata[0]:.3g}<br>"
            "corrected p = %{customdata[1]:.3g}, n = %{customdata[2]:.0f} a side",
        )  # fmt: skip
    return fig.update_layout(
        yaxis={"title": measure_name(measure)},
        height=460,
        margin={"l": 20, "r": 20, "t": 90, "b": 20},
        legend={"title": "domain<br>(hollow: as by chance)"},
    )
