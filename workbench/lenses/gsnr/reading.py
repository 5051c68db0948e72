"""The GSNR table as arrays: its axes, the sums of every tensor and domain, and the recorded histograms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from workbench.core import Run
from workbench.core.schema import GSNR_QUANTILES

#: The row of all samples together, whatever their domain.
POOLED = ""


@dataclass(frozen=True)
class Axes:
    """Names and order of modules, tensors and domains, and which tensor belongs to which module."""

    modules: tuple[str, ...]
    tensors: tuple[str, ...]
    module_of: Int[np.ndarray, " Q"]
    count: Int[np.ndarray, " Q"]
    domains: tuple[str, ...]

    @staticmethod
    def of(run: Run) -> Axes:
        rows = run.query(
            "SELECT module, parameter, max(count) AS count, min(place) AS place FROM "
            "(SELECT module, parameter, count, row_number() OVER () AS place FROM gsnr) GROUP BY module, parameter"
        )
        declared = {module.name: place for place, module in enumerate(run.info.modules)}
        rows["declared"] = [declared.get(module, len(declared)) for module in rows["module"]]
        rows["first"] = rows.groupby("module")["place"].transform("min")
        rows = rows.sort_values(["declared", "first", "place"], ignore_index=True)
        modules = list(dict.fromkeys(rows["module"]))
        found = run.query("SELECT DISTINCT domain FROM gsnr WHERE domain <> '' ORDER BY domain")["domain"]
        order = [name for name in run.domain_names if name in set(found)]
        domains = (*order, *(name for name in found if name not in order))
        index = np.array([modules.index(module) for module in rows["module"]])
        names = tuple(module or "(top level)" for module in modules)
        return Axes(names, tuple(rows["parameter"]), index, rows["count"].to_numpy(), domains)

    def gathered(self, values: Float[np.ndarray, "S Q ..."]) -> Float[np.ndarray, "S R ..."]:
        """Sums over all tensors, over each module's tensors, then every tensor; NaN (not recorded) counts as 0."""
        values = np.nan_to_num(values.astype(float))
        starts = np.searchsorted(self.module_of, np.arange(len(self.modules)))
        by_module = np.add.reduceat(values, starts, axis=1)
        return np.concatenate([values.sum(axis=1, keepdims=True), by_module, values], axis=1)

    def widest(self, samples: Int[np.ndarray, "S Q"]) -> Int[np.ndarray, "S R"]:
        """Samples behind every part: the most of any of its tensors."""
        starts = np.searchsorted(self.module_of, np.arange(len(self.modules)))
        by_module = np.maximum.reduceat(samples, starts, axis=1)
        return np.concatenate([samples.max(axis=1, keepdims=True), by_module, samples], axis=1)


@dataclass(frozen=True)
class Sums:
    """Per step, tensor and domain (the pooled row first): Σ m², Σ s² and samples; NaN and 0 where not recorded."""

    mean_sq: Float[np.ndarray, "S Q D1"]
    var: Float[np.ndarray, "S Q D1"]
    samples: Int[np.ndarray, "S Q D1"]
    nonfinite: int


def read_sums(run: Run, axes: Axes, steps: Int[np.ndarray, " S"]) -> Sums:
    frame = run.query(
        "SELECT step, parameter, domain, samples, mean_sq_sum, var_sum FROM gsnr WHERE list_contains($steps, step)",
        {"steps": steps.tolist()},
    )
    index = (
        np.searchsorted(steps, frame["step"].to_numpy()),
        pd.Categorical(frame["parameter"], axes.tensors).codes,
        pd.Categorical(frame["domain"], (POOLED, *axes.domains)).codes,
    )
    shape = (len(steps), len(axes.tensors), 1 + len(axes.domains))
    mean_sq, var, samples = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, dtype=np.int64)
    finite = np.isfinite(frame["mean_sq_sum"].to_numpy()) & np.isfinite(frame["var_sum"].to_numpy())
    kept = tuple(axis[finite] for axis in index)
    mean_sq[kept], var[kept] = frame["mean_sq_sum"].to_numpy()[finite], frame["var_sum"].to_numpy()[finite]
    samples[kept] = frame["samples"].to_numpy()[finite]
    return Sums(mean_sq, var, samples, int((~finite).sum()))


def read_histograms(
    run: Run, axes: Axes, steps: Int[np.ndarray, " S"]
) -> tuple[Float[np.ndarray, "S Q 48"], Float[np.ndarray, "S Q 5"]]:
    """Of all samples together. Not recorded: an empty histogram, NaN quantiles."""
    frame = run.query(
        "SELECT step, parameter, histogram, quantiles FROM gsnr WHERE domain = '' AND list_contains($steps, step) "
        "AND isfinite(mean_sq_sum) AND isfinite(var_sum)",
        {"steps": steps.tolist()},
    )
    index = (
        np.searchsorted(steps, frame["step"].to_numpy()),
        pd.Categorical(frame["parameter"], axes.tensors).codes,
    )
    histogram = np.zeros((len(steps), len(axes.tensors), 48))
    quantiles = np.full((len(steps), len(axes.tensors), len(GSNR_QUANTILES)), np.nan)
    if len(frame):
        histogram[index] = np.stack(frame["histogram"].to_list())
        quantiles[index] = np.stack(frame["quantiles"].to_list())
    return histogram, quantiles
