"""A falsifiable sentence about a recipe, and what paired seeds say about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, nan, sqrt
from statistics import fmean
from typing import Literal

import numpy as np

from workbench.core import ConfigError
from workbench.core.gramian import student95

Answer = Literal["holds", "does not hold at this scale", "cannot tell"]


@dataclass(frozen=True)
class Claim:
    """A difference that must lie above a margin.

        d_s = ± scale · (mean over method variants of result_s − mean over baseline variants of result_s)
        holds  <=>  the 95 % Student-t interval of mean_s d_s lies above the margin

    Attributes:
        name: Short and unique within its recipe.
        sentence: What is claimed, with the comparison it rests on.
        reported: What the paper reports, with its data and figures; "not reported" where it says nothing.
        result: Which of the numbers given to :meth:`Job.results` is compared.
        method: The variant that should be ahead, or several whose results are averaged within a seed.
        baseline: The variant or variants it is compared with; None compares with the margin alone.
        margin: In ``unit``.
        lower_is_better: Turns the sign of the difference, so that above the margin always means better.
        scale: From the result to ``unit``.
    """

    name: str
    sentence: str
    reported: str
    result: str
    method: str | tuple[str, ...]
    baseline: str | tuple[str, ...] | None = None
    margin: float = 0.0
    lower_is_better: bool = False
    scale: float = 100.0
    unit: str = "percentage points"

    @property
    def methods(self) -> tuple[str, ...]:
        return (self.method,) if isinstance(self.method, str) else self.method

    @property
    def baselines(self) -> tuple[str, ...]:
        return (self.baseline,) if isinstance(self.baseline, str) else self.baseline or ()

    @property
    def variants(self) -> tuple[str, ...]:
        """Every variant that it needs."""
        return tuple(dict.fromkeys((*self.methods, *self.baselines)))

    def difference(self, results: Mapping[str, Mapping[str, float]]) -> float:
        """d of one seed, in ``unit``; NaN where a training gave no finite result.

        Args:
            results: Variant -> the results of its run.

        Raises:
            ConfigError: a run gave no result of that name.
        """
        ahead = fmean(self._result_of(name, results) for name in self.methods)
        behind = fmean(self._result_of(name, results) for name in self.baselines) if self.baselines else 0.0
        return (-1 if self.lower_is_better else 1) * self.scale * (ahead - behind)

    def _result_of(self, variant: str, results: Mapping[str, Mapping[str, float]]) -> float:
        found = results.get(variant, {})
        if self.result not in found:
            known = ", ".join(found) or "none"
            raise ConfigError(f"Claim '{self.name}' needs the result '{self.result}' of '{variant}'; it gave: {known}.")
        return found[self.result]


@dataclass(frozen=True)
class Finding:
    """What the seeds say: mean difference, its 95 % interval, and whether the claim holds.

    The interval is NaN with fewer than two seeds, and with a training that gave no finite result.
    """

    mean: float
    low: float
    high: float
    answer: Answer


def judge(differences: Sequence[float], margin: float) -> Finding:
    """Student-t interval over paired seeds, against a margin.

    A claim fails only when the whole interval lies at or below the margin; an interval that holds the margin says
    neither. Seeds that all agree to the last bit have an interval of no width.
    """
    n = len(differences)
    mean = fmean(differences) if n else nan
    half = student95(n - 1) * float(np.std(differences, ddof=1)) / sqrt(n) if n > 1 else inf
    low, high = mean - half, mean + half
    if low > margin:
        return Finding(mean, low, high, "holds")
    if high <= margin:
        return Finding(mean, low, high, "does not hold at this scale")
    return Finding(mean, low if n > 1 else nan, high if n > 1 else nan, "cannot tell")
