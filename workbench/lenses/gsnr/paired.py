"""The GSNR of two runs on one scale, for example trained with and without a method."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from workbench.core import ConfigError
from workbench.lenses.gsnr.figures import CENTRES, FLOOR, TICKS, WIDTH, short
from workbench.lenses.gsnr.statistics import Gsnr
from workbench.lenses.palette import CATEGORICAL, faded

#: Panels that fit beside one another.
MAX_PANELS = 4


def common_steps(first: Gsnr, second: Gsnr) -> list[int]:
    """Steps at which both runs recorded their GSNR."""
    return np.intersect1d(first.steps, second.steps).tolist()


def figure(first: Gsnr, second: Gsnr, names: tuple[str, str], at: int | None = None) -> go.Figure:
    """Share of parameters by corrected GSNR in both runs, for all parameters and the modules that both have.

    Args:
        names: Of the two runs.
        at: A step that both recorded; the last such step by default.

    Raises:
        ConfigError: the runs share no recorded step, or not this one.
    """
    steps = common_steps(first, second)
    if not steps or (at is not None and at not in steps):
        known = ", ".join(map(str, steps)) or "none"
        raise ConfigError(f"Both runs must have recorded their GSNR at the step to compare. Steps of both: {known}.")
    step = steps[-1] if at is None else at
    modules = [name for name in first.modules if name in second.modules]
    chosen = [first.parts[0], *modules[: MAX_PANELS - 1]]
    drawn = make_subplots(
        1, len(chosen), shared_yaxes=True, horizontal_spacing=0.03, subplot_titles=[short(name) for name in chosen]
    )
    for column, part in enumerate(chosen, start=1):
        for place, (stats, name) in enumerate(zip((first, second), names, strict=True)):
            _outline(drawn, stats, name, part, step, place, column)
    drawn.update_xaxes(
        title_text="GSNR of a parameter", tickvals=[FLOOR, *TICKS[::2]],
        ticktext=["none", *[f"10<sup>{tick}</sup>" if tick else "1" for tick in TICKS[::2]]],
        range=[FLOOR - WIDTH, _right_end((first, second), chosen, step)],
    )  # fmt: skip
    drawn.update_yaxes(rangemode="tozero", tickformat=".0%")
    drawn.update_yaxes(title_text="share of the parameters", col=1)
    return drawn.update_layout(
        title=f"GSNR of single parameters in both runs, step {step}", height=430,
        legend={"orientation": "h", "y": -0.22, "yanchor": "top", "x": 0},
    )  # fmt: skip


def _density(stats: Gsnr, part: str, step: int) -> np.ndarray:
    at = int(np.flatnonzero(stats.steps == step)[0])
    return np.nan_to_num(stats.density[at, stats.parts.index(part)])


def _outline(drawn: go.Figure, stats: Gsnr, name: str, part: str, step: int, place: int, column: int) -> None:
    colour = CATEGORICAL[(0, 5)[place]]
    median = stats.quantiles[int(np.flatnonzero(stats.steps == step)[0]), stats.parts.index(part), 2]
    drawn.add_scatter(
        x=CENTRES, y=_density(stats, part, step), mode="lines", fill="tozeroy", fillcolor=faded(colour, 0.18),
        line={"color": colour, "width": 2, "shape": "hvh", "dash": ("solid", "dash")[place]}, name=name,
        legendgroup=name, showlegend=column == 1,
        hovertemplate=f"{name}: %{{y:.1%}}; median {median:.3g}<extra></extra>", row=1, col=column,
    )  # fmt: skip


def _right_end(both: tuple[Gsnr, Gsnr], chosen: list[str], step: int) -> float:
    """The highest bin that holds a thousandth of the parameters of any panel."""
    used = [np.flatnonzero(_density(stats, part, step) > 1e-3) for stats in both for part in chosen]
    highest = max((int(bins[-1]) for bins in used if len(bins)), default=len(CENTRES) - 1)
    return float(CENTRES[highest] + WIDTH)
