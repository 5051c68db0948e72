"""Two runs label by label: which labels gained IoU, and which lost."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from workbench.core import ConfigError
from workbench.lenses.labels.statistics import Labels
from workbench.lenses.palette import CATEGORICAL, UNKNOWN

KEY = ["pictures", "labels", "label"]


def compare(first: Labels, second: Labels) -> pd.DataFrame:
    """One row a label that both runs scored: pictures, labels (the list), label, first, second, difference.

    Last recorded values of one run each, without an interval: what a label gains by the seed alone is not known.
    """
    a, b = (stats.scores[stats.scores["label"] != ""].set_index(KEY)["value"] for stats in (first, second))
    joined = pd.concat({"first": a, "second": b}, axis=1, join="inner").reset_index()
    return joined.assign(difference=joined["second"] - joined["first"]).sort_values("difference", ignore_index=True)


def places(compared: pd.DataFrame) -> list[tuple[str, str]]:
    """(pictures, label list) of every comparison, pictures read in a foreign list first: there labels come apart."""
    found = list(dict.fromkeys(zip(compared["pictures"], compared["labels"], strict=True)))
    return sorted(found, key=lambda place: place[0] == place[1])


def figure(compared: pd.DataFrame, names: tuple[str, str], pictures: str, labels: str) -> go.Figure:
    """IoU of every label of one list in both runs, joined; the label that gained most on top.

    Raises:
        ConfigError: both runs did not score these pictures in this list.
    """
    rows = compared[(compared["pictures"] == pictures) & (compared["labels"] == labels)]
    if not len(rows):
        raise ConfigError(f"The two runs did not both score the pictures of '{pictures}' in the labels of '{labels}'.")
    drawn = go.Figure()
    gap = np.full(len(rows), np.nan)
    drawn.add_scatter(
        x=np.stack([rows["first"], rows["second"], gap], axis=1).ravel(), y=np.repeat(rows["label"].to_numpy(), 3),
        mode="lines", line={"color": UNKNOWN, "width": 3}, showlegend=False, hoverinfo="skip",
    )  # fmt: skip
    for side, name, colour, symbol in (
        ("first", names[0], CATEGORICAL[0], "circle-open"),
        ("second", names[1], CATEGORICAL[5], "diamond"),
    ):
        drawn.add_scatter(
            x=rows[side], y=rows["label"], mode="markers", name=name,
            marker={"color": colour, "symbol": symbol, "size": 11, "line": {"width": 2, "color": colour}},
            customdata=100 * rows["difference"],
            hovertemplate="%{y}: %{x:.1%}; second minus first %{customdata:+.1f} points<extra></extra>",
        )  # fmt: skip
    drawn.update_yaxes(type="category", categoryorder="array", categoryarray=rows["label"].tolist(), automargin=True)
    mean = 100 * float(rows["difference"].mean())
    return drawn.update_layout(
        title=f"{pictures}'s pictures in {labels}'s labels: {mean:+.1f} points of mean IoU, second minus first",
        xaxis={"title": "IoU at the last record", "tickformat": ".0%", "range": [-0.02, 1.02]},
        height=200 + 30 * len(rows), legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1,
                                             "xanchor": "right"},
    )  # fmt: skip
