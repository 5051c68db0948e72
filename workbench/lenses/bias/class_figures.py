"""Figures of classes within groups; they draw what the statistics hold and compute nothing."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from workbench.core import ConfigError
from workbench.lenses.bias.drawing import rows_layout
from workbench.lenses.bias.statistics import Bias
from workbench.lenses.empty_figure import empty
from workbench.lenses.palette import UNKNOWN, colours, symbols
from workbench.lenses.words import count, percent, percent_range

#: What a rate of a class is called.
RATES = {
    "tpr": "true positive rate (recall)",
    "fpr": "false positive rate",
    "precision": "precision",
    "iou": "IoU",
    "dice": "Dice (F1)",
}


def has_classes(stats: Bias) -> bool:
    return len(stats.by_class) > 0


def classes(stats: Bias, rate: str | None = None, factor: str | None = None, limit: int = 15) -> go.Figure:
    """One rate of every class in every level of a factor, the class with the widest gap between levels first.

    Args:
        rate: A key of RATES; by default IoU for regions and labels, else the true positive rate.
        factor: By default the one with the widest gap in a class that surely has one, else the first.
        limit: Show at most so many classes.
    """
    rate = rate or ("iou" if stats.classes else "tpr")
    names = [each.name for each in stats.factors]
    if rate not in RATES or factor not in (None, *names):
        known = ", ".join(RATES) if rate not in RATES else ", ".join(names)
        raise ConfigError(f"There is no {'rate' if rate not in RATES else 'factor'} of that name. Known: {known}.")
    rows = stats.by_class[stats.by_class["measure"] == rate]
    if not len(rows):
        return empty("No classes were recorded.")
    ranked = rows.assign(sure=rows["q"] <= 0.05).sort_values(["sure", "gap"], ascending=False, kind="stable")
    factor = factor or str(ranked["factor"].iloc[0])
    ranked = ranked[ranked["factor"] == factor]
    wide = list(dict.fromkeys(ranked["class"]))
    hidden, shown = max(0, len(wide) - limit), wide[:limit]
    q = ranked.drop_duplicates("class").set_index("class")["q"]
    labels = [f"{name}{' (differs)' if q[name] <= 0.05 else ''}" for name in shown]
    levels = next(each.levels for each in stats.factors if each.name == factor)
    colour, symbol = colours(levels), symbols(levels)
    present = [level for level in levels if (ranked["level"] == level).any()]
    figure = go.Figure()
    for i, level in enumerate(present):
        own = ranked[ranked["level"] == level].set_index("class").reindex(shown).dropna(subset=["value"])
        shift = 0.7 * ((i + 0.5) / len(present) - 0.5)
        value = own["value"].to_numpy(dtype=float)
        figure.add_scatter(
            x=value, y=[shown.index(name) + shift for name in own.index], mode="markers", name=level,
            marker={"color": colour[level], "symbol": symbol[level], "size": 9},
            error_x={"type": "data", "symmetric": False, "array": own["high"] - value, "arrayminus": value - own["low"],
                     "color": colour[level], "thickness": 2, "width": 0},
            customdata=[
                f"<b>{row['class']}, {factor} = {level}</b><br>{RATES[rate]} {percent(row['value'])} (95 % interval "
                f"{percent_range(row['low'], row['high'])})<br>of {count(row['n'])} {_unit(stats)}"
                f"<br>levels alike: {_chance(row['q'])}"
                for row in own.reset_index().to_dict("records")
            ],
            hovertemplate="%{customdata}<extra></extra>",
        )  # fmt: skip
    for at in range(1, len(shown)):
        figure.add_hline(y=at - 0.5, line={"color": UNKNOWN, "width": 0.5})
    more = f" · {hidden} more in the table" if hidden else ""
    title = f"{RATES[rate]} of each class by {factor}, widest gap first{more}"
    laid = rows_layout(
        figure, labels, title[:1].upper() + title[1:], {"title": RATES[rate], "tickformat": ".0%"},
        max(36, 14 * len(present)),
    )  # fmt: skip
    laid.update_layout(legend_title_text=factor)
    return laid.update_yaxes(type="linear", zeroline=False, tickvals=list(range(len(labels))), ticktext=labels)


def _unit(stats: Bias) -> str:
    if not stats.classes:
        return "samples"
    return "pixels" if "pixel_accuracy" in stats.choices else "labels"


def _chance(q: float) -> str:
    return f"corrected p = {q:.2g}" if np.isfinite(q) else "too few to test"
