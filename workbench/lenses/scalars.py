"""How did losses and accuracies move over training?

Every logged number over steps, one panel for each kind: the part of the tag before the first ``/``, or what tags such
as ``train_loss`` and ``val_loss``, or ``eval_night_accuracy`` and ``eval_day_accuracy``, have in common. A curve with
more than :data:`MAX_BUCKETS` values is drawn as the mean of equally filled buckets of steps, with a band from the
smallest to the largest value of each bucket, so that no spike is lost. Values that are not finite cannot be drawn: they
are marked with a cross where each stretch of them begins, and counted in the table.

Smoothing is an exponential moving average with weight w on the past, m_t = w m_{t-1} + (1 - w) x_t from m_0 = 0,
divided by 1 - w^t so that the start is not pulled towards 0. It is applied to the points that are drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.core import ConfigError, Run
from workbench.lenses.palette import colours, dashes, faded

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: Buckets a long curve is cut into. A band has an upper and a lower edge, so nothing drawn exceeds 2,000 points.
MAX_BUCKETS = 1000

#: More curves than this in one panel are a thicket; such a panel is shown when it is asked for.
MAX_CURVES = 12
# Pixels of a row of panels, of the gap in it, and of the margins above and below them all.
_PANEL_HEIGHT, _GAP, _MARGINS = 280, 60, 140

_SUMMARY = """
SELECT tag, count(*) AS count, min(step) AS first_step, max(step) AS last_step,
       min(value) FILTER (isfinite(value)) AS smallest, max(value) FILTER (isfinite(value)) AS largest,
       arg_max(value, step) AS last_value,
       count(*) FILTER (NOT isfinite(value) OR value IS NULL) AS not_finite,
       min(step) FILTER (NOT isfinite(value) OR value IS NULL) AS first_not_finite
FROM scalars GROUP BY tag ORDER BY tag
"""

_CURVES = """
WITH numbered AS (
    SELECT tag, step, value, row_number() OVER (PARTITION BY tag ORDER BY step) - 1 AS place,
           count(*) OVER (PARTITION BY tag) AS total
    FROM scalars WHERE tag IN (SELECT unnest($tags))
)
SELECT tag, CAST(place * least(total, $buckets) // total AS BIGINT) AS bucket,
       avg(step) AS step, avg(value) FILTER (isfinite(value)) AS value,
       min(value) FILTER (isfinite(value)) AS low, max(value) FILTER (isfinite(value)) AS high,
       count(*) AS count, count(*) FILTER (NOT isfinite(value) OR value IS NULL) AS not_finite
FROM numbered GROUP BY tag, bucket ORDER BY tag, bucket
"""


@dataclass(frozen=True)
class Scalars:
    """The logged numbers of a run.

    Attributes:
        tags: One row a tag: group (its panel), curve (its name there), count, first_step, last_step, smallest,
            largest, last_value, not_finite, first_not_finite (NaN where every value is finite).
        curves: One row a drawn point: tag, step, value (bucket mean; NaN without a finite value), low, high, count,
            not_finite, smoothed.
    """

    tags: pd.DataFrame
    curves: pd.DataFrame

    def of(self, tag: str) -> pd.DataFrame:
        """The drawn points of one tag."""
        return self.curves[self.curves["tag"] == tag]

    @property
    def reduced(self) -> tuple[str, ...]:
        """The tags that are drawn as bucket means with a band."""
        return tuple(self.curves.loc[self.curves["count"] > 1, "tag"].unique())


def grouped(tags: Sequence[str]) -> dict[str, tuple[str, str]]:
    """The panel of every tag, and its name there.

    With a ``/``: what stands before and behind the first one. Without: tags that differ in one word between underscores
    share a panel (the largest such family counts). The last word, which names what is measured, stays, unless it is a
    number.
    """
    shared: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for tag in tags:
        words = tag.split("_")
        places = [i for i, word in enumerate(words) if i < len(words) - 1 or (i and word.isdigit())]
        ways = [((*words[:i], "", *words[i + 1 :]), words[i]) for i in places] if "/" not in tag else []
        shared[tag] = [(pattern, word) for pattern, word in ways if word]
    sizes = Counter(pattern for ways in shared.values() for pattern, _ in ways)
    found = {}
    for tag, ways in shared.items():
        group, slash, curve = tag.partition("/")
        best = max(ways, key=lambda way: sizes[way[0]], default=None)
        if best is not None and sizes[best[0]] > 1:
            found[tag] = "_".join(word for word in best[0] if word), best[1]
        else:
            found[tag] = group, curve if slash else tag
    return found


def summary(run: Run) -> pd.DataFrame:
    """One row a tag, as in :attr:`Scalars.tags`. Raises MissingTable when the run logged no scalars."""
    run.require("scalars")
    found = run.query(_SUMMARY)
    places = grouped(found["tag"].tolist())
    found.insert(1, "group", [places[tag][0] for tag in found["tag"]])
    found.insert(2, "curve", [places[tag][1] for tag in found["tag"]])
    return found


def panels(tags: pd.DataFrame) -> list[str]:
    """The groups of a summary: losses, then accuracies and the like, then the rest."""
    words = (("loss",), ("acc", "iou", "dice", "f1", "error", "auc"))

    def rank(group: str) -> int:
        return next((i for i, kind in enumerate(words) if any(word in group.lower() for word in kind)), len(words))

    return sorted(dict.fromkeys(tags["group"]), key=rank)


def first_panels(tags: pd.DataFrame) -> list[str]:
    """The groups to show before anything is chosen: those with at most :data:`MAX_CURVES` curves, or the first."""
    counts = tags["group"].value_counts()
    return [group for group in panels(tags) if counts[group] <= MAX_CURVES] or panels(tags)[:1]


def statistics(
    run: Run, tags: Sequence[str] | None = None, smoothing: float = 0.0, buckets: int = MAX_BUCKETS
) -> Scalars:
    """Read, thin out and smooth the scalars of a run.

    Args:
        tags: Only these; all by default.
        smoothing: Weight of the past in [0, 1); 0 leaves the values as they are.
        buckets: Drawn points a curve.

    Raises:
        MissingTable: the run logged no scalars.
        ConfigError: smoothing outside [0, 1), or fewer than one bucket.
    """
    if not 0 <= smoothing < 1:
        raise ConfigError(f"smoothing must lie in [0, 1); got {smoothing}.")
    if buckets < 1:
        raise ConfigError(f"buckets must be at least 1; got {buckets}.")
    found = summary(run)
    chosen = [tag for tag in found["tag"] if tags is None or tag in tags]
    curves = run.query(_CURVES, {"tags": chosen, "buckets": buckets}).drop(columns="bucket")
    curves["smoothed"] = smoothed(curves, smoothing)
    return Scalars(found[found["tag"].isin(chosen)].reset_index(drop=True), curves)


def smoothed(curves: pd.DataFrame, weight: float) -> pd.Series:
    """Bias-corrected exponential moving average of ``value`` within each tag; NaN values are passed over."""
    if weight == 0:
        return curves["value"]
    by_tag = curves.groupby("tag", sort=False)["value"]
    return by_tag.transform(lambda values: values.ewm(alpha=1 - weight, adjust=True).mean().where(values.notna()))


def main_tag(run: Run, tags: Sequence[str]) -> str | None:
    """The tag to show when there is room for one: the first summary value, else an accuracy, else a loss."""
    for name in run.info.summary:
        if name in tags:
            return name
    for word in ("acc", "iou", "dice", "f1", "loss"):
        for tag in tags:
            if word in tag.lower():
                return tag
    return tags[0] if tags else None


def figure(stats: Scalars, log: bool = False, names: Sequence[str] | None = None) -> go.Figure:
    """Curves over steps, one panel a group. ``names`` fixes colours by the part of the tag after the group."""
    from plotly.subplots import make_subplots

    groups = panels(stats.tags)
    members = dict(zip(stats.tags["tag"], stats.tags["curve"], strict=True))
    order = list(dict.fromkeys([*(names or ()), *members.values()]))
    colour, dash = colours(order), dashes(order)
    columns = min(2, len(groups)) or 1
    rows = -(-len(groups) // columns) or 1
    height = _PANEL_HEIGHT * rows + _MARGINS
    gap = _GAP / (height - _MARGINS) if rows > 1 else 0.0
    fig = make_subplots(rows, columns, subplot_titles=groups, horizontal_spacing=0.07, vertical_spacing=gap)
    shown: set[str] = set()
    for index, group in enumerate(groups):
        place = {"row": index // columns + 1, "col": index % columns + 1}
        for tag in stats.tags.loc[stats.tags["group"] == group, "tag"]:
            name = members[tag]
            for trace in _traces(stats.of(tag), name, colour[name], dash[name], name not in shown):
                fig.add_trace(trace, **place)
            shown.add(name)
    fig.update_xaxes(title_text="step", title_standoff=4, row=rows)
    fig.update_yaxes(type="log" if log else "linear")
    fig.update_layout(
        height=height,
        margin={"l": 50, "r": 10, "t": 40, "b": 100},
        legend={"orientation": "h", "y": -60 / (height - _MARGINS), "yanchor": "top"},
        hovermode="x unified",
    )
    return fig


def _traces(curve: pd.DataFrame, name: str, colour: str, dash: str, first: bool) -> list[go.Scatter]:
    """The band of a thinned curve, its line, and marks where values were not finite."""
    import plotly.graph_objects as go

    traces = []
    steps = curve["step"].to_numpy()
    if (curve["count"] > 1).any():
        band = curve.dropna(subset=["low", "high"])
        traces.append(
            go.Scatter(
                x=np.concatenate([band["step"], band["step"][::-1]]),
                y=np.concatenate([band["high"], band["low"][::-1]]),
                fill="toself",
                fillcolor=faded(colour, 0.15),
                line={"width": 0},
                hoverinfo="skip",
                legendgroup=name,
                showlegend=False,
                name=f"{name}, smallest to largest",
            )
        )
    traces.append(
        go.Scatter(
            x=steps,
            y=curve["smoothed"].to_numpy(),
            mode="lines" if len(curve) > 1 else "markers",
            line={"color": colour, "dash": dash, "width": 2},
            marker={"color": colour},
            legendgroup=name,
            showlegend=first,
            name=name,
            hovertemplate="%{y:.4g}",
        )
    )
    faulty = curve["not_finite"] > 0
    broken = curve[faulty & ~faulty.shift(fill_value=False)]  # where each stretch of them begins
    if len(broken):
        finite = curve["low"].min()
        traces.append(
            go.Scatter(
                x=broken["step"],
                y=np.full(len(broken), 0.0 if np.isnan(finite) else finite),
                mode="markers",
                marker={"symbol": "x", "color": colour, "size": 8},
                legendgroup=name,
                showlegend=False,
                name=f"{name}: not a finite number from here",
                hovertemplate="not a finite number from here",
            )
        )
    return traces
