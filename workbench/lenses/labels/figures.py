"""Figures of the labels lens; they draw what the statistics hold and compute nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from workbench.lenses.empty_figure import empty
from workbench.lenses.labels.contingency import Pair, Rate
from workbench.lenses.labels.name_figure import name_matrix
from workbench.lenses.labels.statistics import Labels
from workbench.lenses.palette import CATEGORICAL, SEQUENTIAL, UNKNOWN, colours, symbols
from workbench.lenses.words import count, percent, percent_range

#: Colour and dash of a relation.
RELATIONS = {
    "same": ("#009E73", "solid"),
    "part of": ("#0072B2", "solid"),
    "overlaps": ("#CC79A7", "dashdot"),
    "contradicts": ("#D55E00", "dash"),
}
#: Cells of a matrix below this share stay without a number.
_SHOWN_SHARE = 0.05
#: The other name is written beside shares from this on.
_NAMED_SHARE = 0.02


def matrix(stats: Labels, dataset_a: str | None = None, dataset_b: str | None = None) -> go.Figure:
    """How much of each label is which label of the other dataset, in both directions; how alike their names are where
    no dataset's head was run on another's samples.

    Args:
        dataset_a, dataset_b: Two datasets that were predicted across; the first such pair by default.
    """
    pair = stats.pair(dataset_a, dataset_b)
    if pair is None and len(stats.datasets) > 1 and not stats.pairs:
        return name_matrix(stats.relations, dataset_a or stats.datasets[0], dataset_b or stats.datasets[1])
    if pair is None:
        return empty("No dataset's head was run on another dataset's samples.")
    rows, columns = _order(pair)
    a, b = [pair.labels_a[i] for i in rows], [pair.labels_b[j] for j in columns]
    figure = make_subplots(
        cols=2,
        shared_yaxes=True,
        horizontal_spacing=0.03,
        subplot_titles=(
            f"of what is the row to {pair.dataset_a},<br>share that is the column to {pair.dataset_b}",
            f"of what is the column to {pair.dataset_b},<br>share that is the row to {pair.dataset_a}",
        ),
    )
    sides = ((pair.b_given_a, "of '%{y}', is '%{x}'"), (pair.a_given_b, "of '%{x}', is '%{y}'"))
    for column, (rate, reading) in enumerate(sides, start=1):
        figure.add_trace(_heat(rate, rows, columns, a, b, reading, column == 2), row=1, col=column)
    side = 34 if len(a) <= 24 else 20
    figure.update_xaxes(type="category", tickangle=-45, automargin=True, title=pair.dataset_b, showgrid=False)
    figure.update_yaxes(type="category", autorange="reversed", automargin=True, showgrid=False)
    figure.update_yaxes(title=pair.dataset_a, col=1)
    return figure.update_layout(
        title=f"What {pair.dataset_a} and {pair.dataset_b} call the same thing",
        height=290 + side * len(a),
        margin_t=130,
    )


def _order(pair: Pair) -> tuple[list[int], list[int]]:
    """Labels with samples: rows as declared, each column beside the row that it belongs to most."""
    rows = [i for i in range(len(pair.labels_a)) if pair.samples_a[i] > 0]
    home = np.nan_to_num(pair.a_given_b.value)[rows].argmax(axis=0) if rows else np.zeros(len(pair.labels_b))
    columns = [j for j in range(len(pair.labels_b)) if pair.samples_b[j] > 0]
    return rows, sorted(columns, key=lambda j: home[j])


def _heat(
    rate: Rate, rows: list[int], columns: list[int], a: list[str], b: list[str], reading: str, bar: bool
) -> go.Heatmap:
    value, low, high, worth = (
        values[np.ix_(rows, columns)] for values in (rate.value, rate.low, rate.high, rate.effective)
    )
    many = len(a) * len(b) > 400
    text = np.array([["" if many or not v >= _SHOWN_SHARE else f"{100 * v:.0f}" for v in line] for line in value])
    hover = np.array(
        [
            [
                "nothing recorded"
                if np.isnan(v)
                else f"{percent(v)} (95 % interval {percent_range(lo, hi)}, worth {n:.0f} independent samples)"
                for v, lo, hi, n in zip(*lines, strict=True)
            ]
            for lines in zip(value, low, high, worth, strict=True)
        ]
    )
    return go.Heatmap(
        z=value,
        x=b,
        y=a,
        zmin=0,
        zmax=1,
        colorscale=SEQUENTIAL,
        xgap=1,
        ygap=1,
        text=text,
        texttemplate="%{text}",
        customdata=hover,
        hovertemplate=f"{reading}: %{{customdata}}<extra></extra>",
        showscale=bar,
        colorbar={"title": {"text": "share", "side": "right"}, "tickformat": ".0%"},
    )


def graph(stats: Labels, kinds: str = "all") -> go.Figure:
    """Labels of each dataset in a column, joined by the relations that were found.

    Args:
        kinds: One kind of relation to show alone, or ``all``.
    """
    shown = stats.relations[stats.relations["kind"].isin(list(RELATIONS))] if len(stats.relations) else stats.relations
    if kinds != "all" and len(shown):
        shown = shown[shown["kind"] == kinds]
    place = {
        (dataset, label): (column, (row + 0.5) / len(labels))
        for column, (dataset, labels) in enumerate(stats.spaces.items())
        for row, label in enumerate(labels)
    }
    figure = go.Figure()
    for kind, (colour, dash) in RELATIONS.items():
        rows = shown[shown["kind"] == kind] if len(shown) else shown
        if len(rows):
            _edges(figure, rows, place, kind, colour, dash)
    of_dataset, symbol = colours(stats.datasets), symbols(stats.datasets)
    last = len(stats.datasets) - 1
    for column, (dataset, labels) in enumerate(stats.spaces.items()):
        figure.add_trace(
            go.Scatter(
                x=[column] * len(labels),
                y=[place[dataset, label][1] for label in labels],
                mode="markers+text",
                text=labels,
                textposition="middle right" if column == last and last > 0 else "middle left",
                marker={"color": of_dataset[dataset], "symbol": symbol[dataset], "size": 13},
                hovertemplate=f"{dataset}: %{{text}}<extra></extra>",
                showlegend=False,
                cliponaxis=False,
            )
        )
    figure.update_xaxes(
        tickvals=list(range(last + 1)), ticktext=list(stats.datasets), side="top", showgrid=False, zeroline=False,
        range=[-0.45 * max(last, 1), last + 0.45 * max(last, 1)],
    )  # fmt: skip
    figure.update_yaxes(visible=False, range=[1.02, -0.02])
    tallest = max((len(labels) for labels in stats.spaces.values()), default=1)
    basis = "" if stats.pairs else " (guessed from names alone)"
    return figure.update_layout(
        title=f"Relations between the datasets' labels{basis}",
        height=200 + 30 * tallest,
        legend={"orientation": "h", "y": -0.02, "yanchor": "top", "x": 0},
    )


def _edges(
    figure: go.Figure,
    rows: pd.DataFrame,
    place: dict[tuple[str, str], tuple[int, float]],
    kind: str,
    colour: str,
    dash: str,
) -> None:
    """One trace a relation, thicker when more certain, grouped under one entry of the legend."""
    for at, (_, row) in enumerate(rows.iterrows()):
        start, end = place[row["dataset_a"], row["label_a"]], place[row["dataset_b"], row["label_b"]]
        certainty = row["certainty"] if "certainty" in row and np.isfinite(row["certainty"]) else 0.3
        x = np.linspace(0, 1, 21)
        ease = x * x * (3 - 2 * x)
        figure.add_trace(
            go.Scatter(
                x=start[0] + (end[0] - start[0]) * x,
                y=start[1] + (end[1] - start[1]) * ease,
                mode="lines",
                line={"color": colour, "dash": dash, "width": 1.5 + 3.5 * certainty},
                opacity=0.85,
                name=kind,
                legendgroup=kind,
                showlegend=at == 0,
                text=[_relation_text(row)] * len(x),
                hovertemplate="%{text}<extra></extra>",
            )
        )


def _relation_text(row: pd.Series) -> str:
    head = f"<b>{row['label_a']}</b> ({row['dataset_a']}) – <b>{row['label_b']}</b> ({row['dataset_b']}): {row['kind']}"
    if "b_given_a" not in row or pd.isna(row.get("mass", np.nan)):
        return f"{head}<br>names alike: {row['name_similarity']:.2f}"
    return (
        f"{head}<br>of the first, {_share(row, 'b_given_a')} is the second<br>"
        f"of the second, {_share(row, 'a_given_b')} is the first<br>names alike: {row['name_similarity']:.2f}"
    )


def _share(row: pd.Series, name: str) -> str:
    if pd.isna(row[name]):
        return "an unknown share"
    return f"{percent(row[name])} ({percent_range(row[f'{name}_low'], row[f'{name}_high'])})"


def conflicts(stats: Labels, dataset: str | None = None, limit: int = 30) -> go.Figure:
    """For each label the share that the other dataset calls by another name, and which name that is.

    Args:
        dataset: Only this dataset's labels.
        limit: Show at most so many labels.
    """
    rows = stats.conflicts if dataset is None else stats.conflicts[stats.conflicts["dataset"] == dataset]
    rows = rows[rows["share"].notna()]
    if not len(rows):
        return empty("No dataset's head was run on another dataset's samples.")
    rows = rows.head(limit)
    names = [f"{row['dataset']}: {row['label']}  (n = {count(row['samples'])})" for _, row in rows.iterrows()]
    figure = go.Figure()
    for shared, name, colour, symbol in (
        (True, "both datasets have this name", CATEGORICAL[0], "circle"),
        (False, "only this dataset has this name", CATEGORICAL[5], "diamond"),
    ):
        at = np.flatnonzero(rows["shared"].to_numpy(dtype=bool) == shared)
        if len(at):
            chosen = rows.iloc[at]
            figure.add_trace(_called(chosen, [names[i] for i in at], name, colour, symbol))
    seen = (rows["share"] >= _NAMED_SHARE).to_numpy()
    figure.add_trace(
        go.Scatter(
            x=rows["high"][seen],
            y=[name for name, is_seen in zip(names, seen, strict=True) if is_seen],
            text=[f"  {called}" for called in rows["called"][seen]],
            mode="text",
            textposition="middle right",
            showlegend=False,
            hoverinfo="skip",
        )
    )
    return figure.update_layout(
        title="Share of each label that the other dataset calls by another name",
        xaxis={"title": "share under that name", "tickformat": ".0%", "range": [-0.02, 1.32], "zeroline": False,
               "tickvals": [0, 0.25, 0.5, 0.75, 1]},
        yaxis={"categoryorder": "array", "categoryarray": names, "range": [len(names) - 0.4, -0.6], "automargin": True,
               "showgrid": False},
        height=190 + 30 * len(names),
        legend={"orientation": "h", "y": -70 / (30 + 30 * len(names)), "yanchor": "top", "x": 0},
    )  # fmt: skip


def _called(rows: pd.DataFrame, names: list[str], name: str, colour: str, symbol: str) -> go.Scatter:
    share = rows["share"].to_numpy()
    interval = [percent_range(low, high) for low, high in zip(rows["low"], rows["high"], strict=True)]
    return go.Scatter(
        x=share,
        y=names,
        mode="markers",
        name=name,
        marker={"color": colour, "symbol": symbol, "size": 11},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": rows["high"].to_numpy() - share,
            "arrayminus": share - rows["low"].to_numpy(),
            "color": colour,
            "thickness": 2,
            "width": 0,
        },
        customdata=[
            f"'{called}' to {other}: {percent(value)} (95 % interval {limits})"
            for called, other, value, limits in zip(rows["called"], rows["other"], share, interval, strict=True)
        ],
        hovertemplate="%{y}<br>%{customdata}<extra></extra>",
    )


def pull(stats: Labels) -> go.Figure:
    """Cosine between the datasets' gradients on each label's output, the strongest conflict first."""
    rows = stats.gradients[stats.gradients["cosine"].notna()] if len(stats.gradients) else stats.gradients
    if not len(rows):
        return empty("No gradients of two datasets' losses on the outputs of labels were recorded, or none is sure.")
    labels = [row["label"] if row["shared"] else f"{row['label']} (one dataset only)" for _, row in rows.iterrows()]
    if rows[["dataset_a", "dataset_b"]].drop_duplicates().shape[0] > 1:
        labels = [
            f"{label}: {a} – {b}" for label, a, b in zip(labels, rows["dataset_a"], rows["dataset_b"], strict=True)
        ]
    value = rows["cosine"].to_numpy().clip(-1, 1)
    figure = go.Figure(
        go.Bar(
            x=value,
            y=labels,
            orientation="h",
            marker={
                "color": np.where(value < 0, "#D55E00", "#0072B2"),
                "pattern": {"shape": np.where(rows["shared"].to_numpy(dtype=bool), "", "/"), "fgopacity": 0.5},
            },
            error_x={
                "type": "data", "symmetric": False, "array": rows["high"].clip(-1, 1) - value,
                "arrayminus": value - rows["low"].clip(-1, 1), "color": UNKNOWN, "thickness": 2, "width": 4,
            },
            customdata=[
                f"cosine {row['cosine']:.2f} (95 % interval {row['low']:.2f} to {row['high']:.2f}), corrected p = "
                f"{row['q']:.2g}"
                for _, row in rows.iterrows()
            ],
            hovertemplate="%{y}<br>%{customdata}<extra></extra>",
        )
    )  # fmt: skip
    figure.add_vline(x=0, line={"color": UNKNOWN, "width": 1.5})
    return figure.update_layout(
        title="Do the datasets pull a label's output the same way? Striped: only one dataset has the label",
        xaxis={"title": "cosine of the two losses' gradients on the label's output", "range": [-1.05, 1.05]},
        yaxis={"categoryorder": "array", "categoryarray": labels, "range": [len(labels) - 0.4, -0.6],
               "automargin": True, "showgrid": False},
        height=170 + 30 * len(labels),
        bargap=0.35,
    )  # fmt: skip


def contexts(stats: Labels, limit: int = 20) -> go.Figure:
    """Pairs of labels that share samples more in one dataset than in another: log odds ratio in each.

    Args:
        limit: Show at most so many pairs.
    """
    rows = stats.contexts.head(limit)
    if not len(rows):
        return empty("No two labels occur often enough in two datasets to compare their contexts.")
    names = [
        f"{row['label_x']} and {row['label_y']}{'' if row['q'] <= 0.05 else '  (alike)'}" for _, row in rows.iterrows()
    ]
    colour, symbol = colours(stats.datasets), symbols(stats.datasets)
    figure = go.Figure()
    for side in ("a", "b"):
        for dataset in dict.fromkeys(rows[f"dataset_{side}"]):
            at = np.flatnonzero((rows[f"dataset_{side}"] == dataset).to_numpy())
            figure.add_trace(
                _odds(rows.iloc[at], side, [names[i] for i in at], dataset, colour[dataset], symbol[dataset])
            )
    figure.add_vline(x=0, line={"color": UNKNOWN, "dash": "dot", "width": 1.5})
    return figure.update_layout(
        title="Do two labels keep each other company in both datasets?",
        xaxis={"title": "log odds ratio of sharing a sample (0: independent)", "zeroline": False},
        yaxis={"categoryorder": "array", "categoryarray": list(dict.fromkeys(names)), "automargin": True,
               "range": [len(names) - 0.4, -0.6], "showgrid": False},
        height=190 + 30 * len(names),
        legend={"orientation": "h", "y": -70 / (30 + 30 * len(names)), "yanchor": "top", "x": 0},
    )  # fmt: skip


def _odds(rows: pd.DataFrame, side: str, names: list[str], dataset: str, colour: str, symbol: str) -> go.Scatter:
    return go.Scatter(
        x=rows[f"log_odds_ratio_{side}"],
        y=names,
        mode="markers",
        name=dataset,
        marker={"color": colour, "symbol": symbol, "size": 11},
        error_x={"type": "data", "array": 1.96 * rows[f"error_{side}"].to_numpy(), "color": colour, "width": 0},
        customdata=[
            f"{int(row[f'both_{side}'])} samples with both, {int(row[f'x_only_{side}'])} and "
            f"{int(row[f'y_only_{side}'])} with one, {int(row[f'neither_{side}'])} with neither"
            for _, row in rows.iterrows()
        ],
        hovertemplate=f"{dataset}: %{{x:.2f}}<br>%{{customdata}}<extra></extra>",
    )
