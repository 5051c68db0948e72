"""Two runs side by side: which options differ, where their numbers ended, the same figure on the same scales."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.core import MissingTable, Run
from workbench.lenses import scalars

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: Share of the range that is left free on either side of a common axis.
_MARGIN = 0.05
#: Options that say when a training was looked at, and change nothing in it.
_LOOKS = ("config.probes", "config.log_every")


def options(run: Run) -> dict[str, str]:
    """Everything in run.json that shapes a result, flat, as text: configuration, seed, method, names, versions."""
    info = run.info
    found: dict[str, Any] = {"method": info.method, "recipe": info.recipe, "seed": info.seed}
    found |= {"tasks": ", ".join(run.task_names), "domains": ", ".join(run.domain_names)}
    found |= {"held-out domains": ", ".join(domain.name for domain in info.domains if domain.held_out)}
    found |= {"datasets": ", ".join(run.dataset_names), "attributes": ", ".join(run.attribute_names)}
    found |= dict(_flat(info.config, "config"))
    found |= dict(_flat(info.versions, "version"))
    found |= dict(_flat(info.code, "code"))
    return {name: str(value) for name, value in found.items() if value not in (None, "")}


def trained_alike(run: Run, runs: Iterable[Run]) -> list[Run]:
    """Those of ``runs`` that were trained in the same setting with other seeds, one a seed, the seeds in order.

    Method, recipe, names and configuration are the same; with which versions they ran and at which steps they were
    looked at does not count.
    """
    mine = _setting(run)
    found: dict[int, Run] = {}
    for other in runs:
        seed = other.info.seed
        if seed is not None and seed != run.info.seed and seed not in found and _setting(other) == mine:
            found[seed] = other
    return [found[seed] for seed in sorted(found)]


def _setting(run: Run) -> dict[str, str]:
    return {
        name: value
        for name, value in options(run).items()
        if name not in ("seed", *_LOOKS) and not name.startswith(("version.", "code."))
    }


def differences(first: Run, second: Run) -> pd.DataFrame:
    """The options in which two runs differ: columns option, first, second; empty text where a run lacks the option."""
    a, b = options(first), options(second)
    names = [name for name in {**a, **b} if a.get(name) != b.get(name)]
    return pd.DataFrame(
        {"option": names, "first": [a.get(n, "") for n in names], "second": [b.get(n, "") for n in names]}
    )


def metrics(first: Run, second: Run) -> pd.DataFrame:
    """The last value of every scalar that either run logged: columns tag, first, second, difference (second - first).

    NaN where a run did not log it. One value a run and no interval: whether a difference is more than the luck of the
    seed takes several runs of each kind.
    """
    last = {}
    for name, run in (("first", first), ("second", second)):
        try:
            tags = scalars.summary(run)
        except MissingTable:
            continue
        last[name] = tags.set_index("tag")["last_value"]
    table = pd.DataFrame(last, columns=["first", "second"], dtype=float).rename_axis("tag").reset_index()
    table["difference"] = table["second"] - table["first"]
    return table


def same_scales(first: go.Figure, second: go.Figure) -> tuple[go.Figure, go.Figure]:
    """The two figures with common ranges on every numeric axis and colour scale; the figures are changed in place."""
    for letter in ("x", "y"):
        names = {axis for fig in (first, second) for axis, _values in _values_by_axis(fig, letter)}
        for axis in names:
            values = [v for fig in (first, second) for name, v in _values_by_axis(fig, letter) if name == axis]
            pooled = np.concatenate(values)
            if len(pooled):
                _set_range((first, second), axis, float(pooled.min()), float(pooled.max()))
    _share_colours(first, second)
    return first, second


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}.{key}")
        else:
            yield f"{prefix}.{key}", value


def _values_by_axis(fig: go.Figure, letter: str) -> Iterator[tuple[str, np.ndarray]]:
    """Finite numbers along each numeric axis of a figure; none for an axis of categories."""
    for trace in fig.data:
        drawn = getattr(trace, letter, None)
        if drawn is None:
            continue
        axis = f"{letter}axis{(trace[f'{letter}axis'] or letter)[1:]}"
        try:
            values = np.asarray(drawn, dtype=float)
        except (TypeError, ValueError):
            continue
        error = getattr(trace, f"error_{letter}", None)
        reach = [values]
        if error is not None and error.array is not None:
            up = np.asarray(error.array, dtype=float)
            down = up if error.arrayminus is None else np.asarray(error.arrayminus, dtype=float)
            reach += [values + up, values - down]
        if trace.type in ("bar", "histogram"):
            reach.append(np.zeros(1))
        pooled = np.concatenate(reach)
        yield axis, pooled[np.isfinite(pooled)]


def _set_range(figures: tuple[go.Figure, go.Figure], axis: str, low: float, high: float) -> None:
    logarithmic = any(fig.layout[axis].type == "log" for fig in figures)
    reversed_ = any(fig.layout[axis].autorange == "reversed" for fig in figures)
    if logarithmic:
        low, high = np.log10(max(low, 1e-12)), np.log10(max(high, 1e-12))
    margin = _MARGIN * ((high - low) or 1.0)
    limits = [low - margin, high + margin]
    for fig in figures:
        if fig.layout[axis].range is None:
            fig.layout[axis].range = limits[::-1] if reversed_ else limits


def _share_colours(first: go.Figure, second: go.Figure) -> None:
    """Common limits for heat maps that do not fix their own."""
    maps = [trace for fig in (first, second) for trace in fig.data if trace.type == "heatmap"]
    free = [trace for trace in maps if trace.zmin is None and trace.coloraxis is None and trace.z is not None]
    values = [np.asarray(trace.z, dtype=float) for trace in free]
    pooled = np.concatenate([v[np.isfinite(v)] for v in values]) if values else np.empty(0)
    if len(pooled):
        for trace in free:
            trace.zmin, trace.zmax = float(pooled.min()), float(pooled.max())
