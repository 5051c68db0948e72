"""Figures of how pairs differ within domains; they draw what the statistics hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from workbench.core import ConfigError
from workbench.lenses.domains.figures import label
from workbench.lenses.domains.statistics import DomainShift
from workbench.lenses.palette import UNKNOWN, colours, dashes, symbols


def has_pairs(stats: object) -> bool:
    return isinstance(stats, DomainShift) and len(stats.pairs.separation) > 0


def has_triplets(stats: object) -> bool:
    return isinstance(stats, DomainShift) and len(stats.hinges) > 0


def spectrum_figure(stats: DomainShift, layer: str | None = None, step: int | None = None) -> go.Figure:
    """Eigenvalues of the differences of same-class and different-class pairs in every domain."""
    layer, step = _place(stats, layer, step)
    rows = stats.pairs.spectrum
    rows = rows[(rows["layer"] == layer) & (rows["step"] == step)]
    ratios = stats.pairs.separation
    ratios = ratios[(ratios["layer"] == layer) & (ratios["step"] == step)].set_index("domain")
    domains = [name for name in stats.domains if name in ratios.index]
    colour, symbol = colours(stats.domains), symbols(stats.domains)
    kinds = ("same class", "different classes")
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.05, subplot_titles=kinds)
    for column, kind in enumerate(kinds, start=1):
        for name in domains:
            part = rows[(rows["domain"] == name) & (rows["kind"] == kind)]
            ratio, low, high = ratios.loc[name, ["value", "low", "high"]]
            figure.add_scatter(
                x=part["place"], y=part["eigenvalue"], mode="lines+markers", legendgroup=name, showlegend=column == 1,
                name=f"{label(stats, name)}: separation {ratio:.2f} ({low:.2f}–{high:.2f})",
                line={"color": colour[name], "width": 2}, marker={"symbol": symbol[name], "size": 6},
                row=1, col=column,
            )  # fmt: skip
    figure.update_yaxes(type="log", exponentformat="power")
    figure.update_yaxes(title="eigenvalue", row=1, col=1)
    figure.update_xaxes(title="place in the spectrum")
    return figure.update_layout(
        title=f"How pairs differ in {layer} at step {step} ({stats.pairs.task})",
        height=500,
        legend={"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0},
    )


def separation_figure(stats: DomainShift, layer: str | None = None) -> go.Figure:
    """Separation of classes in every domain over training: different-class over same-class differences."""
    layer, _ = _place(stats, layer, None)
    rows = stats.pairs.separation
    rows = rows[rows["layer"] == layer]
    colour, symbol, dash = colours(stats.domains), symbols(stats.domains), dashes(stats.domains)
    figure = go.Figure()
    for name in stats.domains:
        part = rows[rows["domain"] == name].sort_values("step")
        figure.add_scatter(
            x=part["step"],
            y=part["value"],
            mode="lines+markers",
            name=label(stats, name),
            line={"color": colour[name], "width": 2.5, "dash": dash[name]},
            marker={"symbol": symbol[name], "size": 9},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": part["high"] - part["value"],
                "arrayminus": part["value"] - part["low"],
                "thickness": 1.5,
            },
        )
    figure.add_hline(y=1, line={"color": UNKNOWN, "width": 1, "dash": "dot"}, annotation_text="classes not apart")
    return figure.update_layout(
        title=f"Separation of classes in {layer}, with 95 % intervals over classes",
        xaxis={"title": "step"},
        yaxis={"title": "different-class over same-class difference"},
        height=440,
    )


def agreement_figure(stats: DomainShift, layer: str | None = None, step: int | None = None) -> go.Figure:
    """Whether same-class pairs differ along the same directions in two domains; below, the mean angle over training."""
    layer, step = _place(stats, layer, step)
    rows = stats.pairs.agreement
    rows = rows[rows["layer"] == layer]
    now = rows[rows["step"] == step]
    names = [name for name in stats.domains if name in {*now["domain_a"], *now["domain_b"]}]
    table, text = np.full((len(names), len(names)), np.nan), [["" for _ in names] for _ in names]
    for a, b, value, angle in now[["domain_a", "domain_b", "agreement", "angle"]].itertuples(index=False):
        i, j = sorted((names.index(str(a)), names.index(str(b))))
        table[j, i], text[j][i] = value, f"{value:.2f}<br>{angle:.0f}°"
    figure = make_subplots(
        rows=1, cols=2, column_widths=[0.45, 0.55], horizontal_spacing=0.14,
        subplot_titles=[f"agreement and angle at step {step}", "mean angle over training"],
    )  # fmt: skip
    figure.add_heatmap(
        z=table, x=names, y=names, zmin=0, zmax=1, colorscale="Blues", text=text, texttemplate="%{text}",
        showscale=False, xgap=2, ygap=2, row=1, col=1,
    )  # fmt: skip
    pairs = list(dict.fromkeys(zip(rows["domain_a"], rows["domain_b"], strict=True)))
    labels = [f"{a} and {b}" for a, b in pairs]
    colour, dash, symbol = colours(labels), dashes(labels), symbols(labels)
    for (a, b), name in zip(pairs, labels, strict=True):
        part = rows[(rows["domain_a"] == a) & (rows["domain_b"] == b)].sort_values("step")
        figure.add_scatter(
            x=part["step"], y=part["angle"], mode="lines+markers", name=name, row=1, col=2,
            marker={"symbol": symbol[name], "size": 8}, line={"color": colour[name], "dash": dash[name]},
        )  # fmt: skip
    if len(now):
        figure.add_hline(
            y=now["chance"].iloc[0], line={"color": UNKNOWN, "dash": "dot"}, annotation_text="random directions",
            row=1, col=2,
        )  # fmt: skip
    figure.update_yaxes(autorange="reversed", row=1, col=1)
    figure.update_yaxes(title="degrees", rangemode="tozero", row=1, col=2)
    figure.update_xaxes(title="step", row=1, col=2)
    return figure.update_layout(
        title=f"Do same-class pairs differ along the same directions in {layer}?",
        height=480,
        legend={"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0},
    )


def hinge_figure(stats: DomainShift) -> go.Figure:
    """Share of triplets with a positive cross-domain loss, one line an ordered pair of domains.

    Below, where the training logged them of its batches: separation of classes in each domain, and the angle between
    the leading directions of two.
    """
    logged = stats.logged_pairs
    known = [(name, title) for name, title in _LOGGED if (logged["quantity"] == name).any()]
    figure = make_subplots(
        1 + len(known), 1, shared_xaxes=True, vertical_spacing=0.09,
        row_heights=[0.5, *[0.5 / len(known)] * len(known)] if known else None,
    )  # fmt: skip
    _lines(figure, stats.hinges.rename(columns={"pair": "name"}), 1, "share of triplets<br>with a loss above 0")
    figure.update_yaxes(tickformat=".0%", range=[0, 1.02], row=1)
    for row, (quantity, title) in enumerate(known, start=2):
        _lines(figure, logged[logged["quantity"] == quantity], row, title, stats.domains)
    figure.update_xaxes(title="step", row=1 + len(known))
    return figure.update_layout(
        title="Triplets that still cost something, by domain and by the domain that measures",
        height=440 + 190 * len(known),
        legend={"tracegroupgap": 24},
    )


#: What a training with triplets logs of its batches, in the order of the panels.
_LOGGED = (
    ("separation", "different-class over<br>same-class difference"),
    ("angle", "angle between<br>domains, degrees"),
)


def _lines(figure: go.Figure, rows: pd.DataFrame, row: int, title: str, domains: Sequence[str] = ()) -> None:
    """One line a name in a panel of its own, with its part of the legend; domains keep their colours."""
    names = list(dict.fromkeys(rows["name"]))
    known = list(domains) if set(names) <= set(domains) else names
    colour, dash = colours(known), dashes(known)
    for name in names:
        part = rows[rows["name"] == name]
        figure.add_scatter(
            x=part["step"], y=part["value"], mode="lines+markers", name=name, legendgroup=f"panel {row}",
            line={"color": colour[name], "dash": dash[name]}, marker_size=4, row=row, col=1,
        )  # fmt: skip
    figure.update_yaxes(title=title, rangemode="tozero", row=row)


def _place(stats: DomainShift, layer: str | None, step: int | None) -> tuple[str, int]:
    """The last layer and step by default; the nearest that holds pairs."""
    found = stats.pairs.separation
    if not len(found):
        raise ConfigError("No class has two embedded samples in a domain. Record targets of the embedded samples.")
    layers = [name for name in stats.layers if name in set(found["layer"])]
    layer = layer if layer in layers else layers[-1]
    steps = sorted(found.loc[found["layer"] == layer, "step"].unique())
    return layer, step if step is not None and step in steps else int(steps[-1])
