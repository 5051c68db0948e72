"""Figures of learned margins and of the data they are learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from workbench.core import ConfigError, Run
from workbench.lenses.bias.margin_bands import bands
from workbench.lenses.bias.margins import Margins, offsets_of
from workbench.lenses.bias.statistics import Bias
from workbench.lenses.palette import CATEGORICAL, UNKNOWN, colours, dashes, faded, symbols
from workbench.lenses.words import count, percent


def has_offsets(stats: Bias) -> bool:
    """Whether any margin ever moved."""
    return stats.margins is not None and bool((stats.margins.offsets["value"] != 0).any())


def has_samples(stats: Bias) -> bool:
    return stats.margins is not None and len(stats.margins.samples) > 0


def has_splits(stats: Bias) -> bool:
    return stats.margins is not None and stats.margins.shares["split"].nunique() > 1


def offsets(stats: Bias, alike: Sequence[Run] = ()) -> go.Figure:
    """What each level adds to its samples' margin over training; beside it, the level's share of the training data.

    Args:
        alike: Other trainings that differ in their seed alone: the mean over all of them and its 95 % band are drawn,
            and this training's own offsets as thin lines.
    """
    found = _margins(stats)
    others = [table for run in alike if len(table := offsets_of(run))]
    over_seeds = bands([found.offsets, *others]) if others else bands([])
    names = _levels(found)
    factors = list(dict.fromkeys(factor for factor, _ in names))
    figure = make_subplots(
        rows=2, cols=len(factors), row_heights=[0.74, 0.26], subplot_titles=factors, horizontal_spacing=0.035,
        vertical_spacing=0.2,
    )  # fmt: skip
    train = found.shares[found.shares["split"] == "train"].set_index(["factor", "level"])["share"]
    for column, factor in enumerate(factors, start=1):
        levels = [level for name, level in names if name == factor]
        colour, dash = colours(levels), dashes(levels)
        for level in levels:
            label, look = f"{factor}: {level}", {"color": colour[level], "dash": dash[level]}
            band = over_seeds[(over_seeds["factor"] == factor) & (over_seeds["level"] == level)]
            _band(figure, band, label, look, column)
            rows = found.offsets[(found.offsets["factor"] == factor) & (found.offsets["level"] == level)]
            figure.add_scatter(
                x=rows["step"], y=rows["value"], mode="lines", name=label, row=1, col=column,
                line=look | {"width": 1 if len(band) else 2.5},
                hovertemplate=f"{label}: %{{y:+.2f}} at step %{{x}}<extra></extra>",
            )  # fmt: skip
        _shares(figure, {level: train.get((factor, level), np.nan) for level in levels}, colour, column)
        figure.add_hline(y=0, line={"color": UNKNOWN, "width": 1, "dash": "dot"}, row=1, col=column)
    figure.update_xaxes(title="step", row=1)
    figure.update_yaxes(matches="y", showticklabels=False, row=1)
    figure.update_yaxes(title="added to the margin (cosine)", showticklabels=True, row=1, col=1)
    figure.update_xaxes(title="share of training samples", tickformat=".0%", range=[0, 1], tickvals=[0, 0.5], row=2)
    figure.update_yaxes(showticklabels=False, showgrid=False, autorange="reversed", row=2)
    if others:
        note = f"Thick: mean over {1 + len(others)} trainings that differ in their seed, 95 % band; thin: this training"
    else:
        note = "One training; runs of the same setting with other seeds in this folder would add a mean and its band"
    return figure.update_layout(
        title={"text": "Learned margins: above 0 is pushed harder, below 0 less", "subtitle": {"text": note}},
        height=560, showlegend=False, bargap=0.2, margin={"t": 120},
    )  # fmt: skip


def _band(figure: go.Figure, rows: pd.DataFrame, label: str, look: dict[str, str], column: int) -> None:
    """The mean over trainings and its interval; nothing where there is one training alone."""
    if rows.empty:
        return
    x = rows["step"].to_numpy()
    figure.add_scatter(
        x=np.concatenate([x, x[::-1]]), y=np.concatenate([rows["high"].to_numpy(), rows["low"].to_numpy()[::-1]]),
        mode="lines", line={"width": 0}, fill="toself", fillcolor=faded(look["color"], 0.18), hoverinfo="skip",
        name=f"{label}, band", row=1, col=column,
    )  # fmt: skip
    figure.add_scatter(
        x=x, y=rows["mean"].to_numpy(), mode="lines", line=look | {"width": 3}, name=f"{label}, mean",
        customdata=rows[["low", "high"]].to_numpy(), row=1, col=column,
        hovertemplate=f"{label}: %{{y:+.2f}} (95 %: %{{customdata[0]:+.2f}} to %{{customdata[1]:+.2f}})<extra></extra>",
    )  # fmt: skip


def _shares(figure: go.Figure, shares: Mapping[str, float], colour: Mapping[str, str], column: int) -> None:
    """Bars that name the levels: they are the legend, too."""
    levels = list(shares)
    figure.add_bar(
        x=list(shares.values()), y=levels, orientation="h", marker_color=[colour[level] for level in levels],
        text=[level if np.isnan(share) else f"{level} {share:.0%}" for level, share in shares.items()],
        textposition="auto", insidetextanchor="start", constraintext="none", textfont_size=11, row=2, col=column,
        hovertemplate="%{x:.1%} of the training samples<extra>%{y}</extra>",
    )  # fmt: skip


def hardness(stats: Bias, factor: str | None = None) -> go.Figure:
    """Margin of single samples against how hard they are; a cloud along a line would only rename hardness.

    Args:
        factor: What colours the samples; by default the one whose levels' margins lie furthest apart.
    """
    found = _margins(stats)
    factor = _factor(stats, found, factor or found.widest)
    levels = [level for level in _named(stats, factor) if level in set(found.samples[factor])]
    colour, symbol = colours(levels), symbols(levels)
    figure = go.Figure()
    for level in levels:
        rows = found.samples[found.samples[factor] == level]
        figure.add_scatter(
            x=rows["hardness"],
            y=rows["margin"],
            mode="markers",
            name=f"{level} (n = {count(len(rows))})",
            marker={"color": colour[level], "symbol": symbol[level], "size": 7, "opacity": 0.6},
        )
    return figure.update_layout(
        title=f"Margin and hardness of training samples by {factor}",
        xaxis={"title": "hardness: 1 − probability of the true class"},
        yaxis={"title": "margin (cosine)"},
        height=460,
    )


def agreement(stats: Bias, factor: str | None = None) -> go.Figure:
    """Cosine of single samples' gradients with the meta set's; a level shifted to the left harms or conflicts."""
    found = _margins(stats)
    rows = found.samples
    names = [(name, level) for name in _factors(stats, found) for level in _named(stats, name)]
    names = [(name, level) for name, level in names if level in set(rows[name]) and factor in (None, name)]
    if not names:
        _factor(stats, found, factor)
    colour = {name: CATEGORICAL[i % len(CATEGORICAL)] for i, name in enumerate(_factors(stats, found))}
    figure = go.Figure()
    for name, level in names:
        values = rows.loc[rows[name] == level, "agreement"]
        figure.add_violin(
            x=values,
            name=f"{name}: {level}  (n = {count(len(values))})",
            orientation="h",
            side="negative",
            width=1.7,
            points=False,
            meanline_visible=True,
            line_color=colour[name],
            fillcolor=faded(colour[name], 0.35),
        )
    figure.add_vline(x=0, line={"color": UNKNOWN, "width": 1.5, "dash": "dot"})
    return figure.update_layout(
        title="Do training samples pull the same way as the meta set?",
        xaxis={"title": "cosine of the sample's gradient with the meta set's"},
        yaxis={"autorange": "reversed", "automargin": True, "showgrid": False},
        height=160 + 44 * len(names),
        showlegend=False,
    )


def balance(stats: Bias) -> go.Figure:
    """Share of every level in each split; below, how far two factors occur together in training."""
    found = _margins(stats)
    splits = sorted(found.shares["split"].unique(), key=lambda split: (split != "train", split))
    colour = colours(splits)
    labels = (found.shares["factor"] + ": " + found.shares["level"]).tolist()
    figure = make_subplots(
        rows=1, cols=2, column_widths=[0.6, 0.4], horizontal_spacing=0.2,
        subplot_titles=["share of each split", "association of factors in training"],
    )  # fmt: skip
    for split in splits:
        chosen = (found.shares["split"] == split).to_numpy()
        rows = found.shares[chosen]
        figure.add_bar(
            x=rows["share"], y=[label for label, use in zip(labels, chosen, strict=True) if use], orientation="h",
            name=f"{split} (n = {count(rows.groupby('factor')['n'].sum().max())})", marker_color=colour[split],
            customdata=rows["n"], hovertemplate="%{x:.1%}, %{customdata} samples<extra>%{y}</extra>", row=1, col=1,
        )  # fmt: skip
    _association(figure, found, [factor.name for factor in stats.factors])
    figure.update_xaxes(tickformat=".0%", row=1, col=1)
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure.update_layout(
        title="How the data are balanced",
        height=220 + 34 * len(set(labels)),
        legend={"orientation": "h", "y": -0.12, "yanchor": "top", "x": 0},
    )


def _association(figure: go.Figure, found: Margins, names: list[str]) -> None:
    table = np.full((len(names), len(names)), np.nan)
    for a, b, value in found.association.itertuples(index=False):
        i, j = names.index(str(a)), names.index(str(b))
        table[max(i, j), min(i, j)] = value
    text = [["" if np.isnan(value) else f"{value:.2f}" for value in row] for row in table]
    figure.add_heatmap(
        z=table, x=names, y=names, zmin=0, zmax=1, colorscale="Blues", text=text, texttemplate="%{text}",
        showscale=False, xgap=2, ygap=2, hovertemplate="Cramér's V of %{x} and %{y}: %{z:.2f}<extra></extra>",
        row=1, col=2,
    )  # fmt: skip


def gain(stats: Bias) -> go.Figure:
    """How much one virtual step lowers the meta loss, over training."""
    rows = _margins(stats).gain
    figure = go.Figure(
        go.Scatter(x=rows["step"], y=rows["value"], mode="lines+markers", line={"color": CATEGORICAL[0]})
    )
    figure.add_hline(y=0, line={"color": UNKNOWN, "width": 1, "dash": "dot"})
    share = percent(float((rows["value"] > 0).mean())) if len(rows) else "?"
    return figure.update_layout(
        title=f"Meta loss before minus after the virtual step; above 0 in {share} of the logged steps",
        xaxis={"title": "step"},
        yaxis={"title": "gain (nats)"},
        height=420,
        showlegend=False,
    )


def _margins(stats: Bias) -> Margins:
    if stats.margins is None:
        raise ConfigError(
            "This run logged no margins. Log scalars 'margin/<factor>/<level>' and describe the training samples."
        )
    return stats.margins


def _levels(found: Margins) -> list[tuple[str, str]]:
    """The levels with offsets in the order of logging, those of the baseline level of each factor included."""
    return list(dict.fromkeys(zip(found.offsets["factor"], found.offsets["level"], strict=True)))


def _factors(stats: Bias, found: Margins) -> list[str]:
    return [factor.name for factor in stats.factors if factor.name in found.samples]


def _named(stats: Bias, factor: str) -> tuple[str, ...]:
    return next(candidate.levels for candidate in stats.factors if candidate.name == factor)


def _factor(stats: Bias, found: Margins, factor: str | None) -> str:
    known = _factors(stats, found)
    if factor is None:
        return known[0]
    if factor not in known:
        raise ConfigError(f"The samples have no factor '{factor}'. Factors: {', '.join(known)}.")
    return factor
