"""Below the level of tensors, and beside the prediction what was measured.

- Measured generalisation ratio: from true trial steps on n samples, the fall of the loss on held-out samples over its
  fall on the step's own, with a delete-one-mini-batch jackknife; beside it R = r / (r + 1/n) for the same n, from the
  recorded GSNR r of all parameters as a whole.
- Filters (output channels): GSNR as a whole, Σ (m² - s²/n) / Σ s², with the size of their weights and how far these
  moved since the record before.
- Signs: share of parameters that two domains pull in opposite directions, both beyond noise; equal domains do so for at
  most 0.125 % (two tails of 2.5 % each, in opposite directions).
- Masks: overlap (Jaccard) of the mask of GSNR dropout with that of the record before, beside what two masks drawn at
  random with as many weights would share.
- Micro-batches: the estimate from k means of mini-batches beside the exact one: r_k = m² / (b · var of means), of which
  (k - 3) / (k - 1) r_k - 1/n takes the bias off.

Sources: Liu et al. 2020, arXiv:2001.07384 (ratio); Michalkiewicz et al. 2023, arXiv:2310.07361 (mask). The
rest is ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from workbench.core import Run
from workbench.core.gramian import jackknife_se, student95
from workbench.lenses.gsnr.correction import corrected

#: Rows of the table of filters that are read; beyond, recorded steps are taken evenly spaced.
MAX_FILTER_ROWS = 200_000
#: Share of parameters that two equal domains pull in opposite directions, both beyond noise, at most.
SIGNS_BY_CHANCE = 2 * 0.025**2


@dataclass(frozen=True)
class Measured:
    """One-step generalisation ratio at S steps, for steps on ``samples`` samples.

    ``ratio`` with ``low`` and ``high``: measured; NaN where the step's own loss did not fall. ``predicted``: from GSNR
    at the same step; NaN where none was recorded. ``held_out``: whether the other samples took no part in training.
    """

    steps: Int[np.ndarray, " S"]
    samples: int
    held_out: bool
    ratio: Float[np.ndarray, " S"]
    low: Float[np.ndarray, " S"]
    high: Float[np.ndarray, " S"]
    predicted: Float[np.ndarray, " S"]

    @property
    def both(self) -> np.ndarray:
        """Steps with a prediction and a measurement."""
        return np.flatnonzero(np.isfinite(self.ratio) & np.isfinite(self.predicted))


@dataclass(frozen=True)
class Detail:
    """Frames without rows where nothing was recorded.

    Attributes:
        filters: step, module, parameter, filter, gsnr, weight (root mean square), change (likewise, since the record
            before; NaN at the first), opposed (share of its parameters; NaN without domains).
        signs: step, module, domain_a, domain_b, count, opposed, agreeing (numbers of parameters).
        masks: step, previous_step, module, ratio, overlap, by_chance.
        micro: step, parameter, groups, samples, exact, raw, corrected (medians over parameters), noise (Σ s² over the
            exact one), rank (Spearman's correlation with the exact GSNR over parameters).
    """

    measured: Measured | None
    filters: pd.DataFrame
    signs: pd.DataFrame
    masks: pd.DataFrame
    micro: pd.DataFrame


def read_detail(run: Run, steps: Int[np.ndarray, " S"], snr: Float[np.ndarray, " S"]) -> Detail:
    """``snr``: GSNR of all parameters as a whole at ``steps``."""
    return Detail(_measured(run, steps, snr), _filters(run), _signs(run), _masks(run), _micro(run))


def _measured(run: Run, steps: Int[np.ndarray, " S"], snr: Float[np.ndarray, " S"]) -> Measured | None:
    if not run.has("trial_steps"):
        return None
    frame = run.query(
        "SELECT step, batch_along, batch = batch_along AS own, bool_or(batch < 0) AS held_out, "
        "max(samples) AS samples, sum(before - after) / count(DISTINCT batch) AS gain "
        "FROM trial_steps WHERE moved = 'all' AND along = '' "
        "AND isfinite(after) AND (batch = batch_along OR batch < 0 OR step NOT IN "
        "(SELECT step FROM trial_steps WHERE moved = 'all' AND batch < 0)) GROUP BY ALL ORDER BY step, batch_along"
    )
    gains = frame.pivot_table(index=["step", "batch_along"], columns="own", values="gain").dropna()
    if not len(gains) or len(gains.columns) < 2:
        return None
    samples = int(frame.loc[frame["own"], "samples"].median())
    rows = [
        (step, *_ratio(part[True].to_numpy(), part[False].to_numpy())) for step, part in gains.groupby(level="step")
    ]
    at = np.array([row[0] for row in rows], dtype=np.int64)
    ratio, low, high = np.array([row[1:] for row in rows]).T
    known = dict(zip(steps.tolist(), snr.tolist(), strict=True))
    r = np.array([known.get(step, np.nan) for step in at.tolist()])
    whole = r + 1 / samples
    predicted = r / np.where(whole > 0, whole, np.nan)
    return Measured(at, samples, bool(frame["held_out"].any()), ratio, low, high, predicted)


def _ratio(own: Float[np.ndarray, " K"], other: Float[np.ndarray, " K"]) -> tuple[float, float, float]:
    """Ratio of sums over mini-batches with its jackknife interval; infinite below three."""
    n, total = len(own), float(own.sum())
    if not total > 0:
        return (float("nan"),) * 3
    value = float(other.sum()) / total
    if n < 3:
        return value, -float("inf"), float("inf")
    rest = total - own
    left = (other.sum() - other) / np.where(rest > 0, rest, np.nan)
    half = student95(n - 1) * float(jackknife_se(left[:, None])[0])
    return value, value - half, value + half


def _filters(run: Run) -> pd.DataFrame:
    columns = ["step", "module", "parameter", "filter", "gsnr", "weight", "change", "opposed"]
    if not run.has("gsnr_filters"):
        return pd.DataFrame(columns=columns)
    sizes = run.query("SELECT step, count(*) AS n FROM gsnr_filters GROUP BY step ORDER BY step")
    n_read = max(1, min(len(sizes), int(MAX_FILTER_ROWS / sizes["n"].mean())))
    chosen = sizes["step"].to_numpy()[np.unique(np.linspace(0, len(sizes) - 1, n_read).round().astype(int))]
    return run.query(
        "SELECT step, module, parameter, filter, "
        "(mean_sq_sum - var_sum / samples) / nullif(var_sum, 0) AS gsnr, sqrt(weight_sq_sum / count) AS weight, "
        "sqrt(change_sq_sum / count) AS change, opposed / count AS opposed "
        "FROM gsnr_filters WHERE list_contains($steps, step) ORDER BY step, parameter, filter",
        {"steps": chosen.tolist()},
    )[columns]


def _signs(run: Run) -> pd.DataFrame:
    columns = ["step", "module", "domain_a", "domain_b", "count", "opposed", "agreeing"]
    if not run.has("gsnr_signs"):
        return pd.DataFrame(columns=columns)
    return run.query(
        "SELECT step, module, domain_a, domain_b, sum(count)::BIGINT AS count, sum(opposed)::BIGINT AS opposed, "
        "sum(agreeing)::BIGINT AS agreeing FROM gsnr_signs GROUP BY ALL ORDER BY step"
    )


def _masks(run: Run) -> pd.DataFrame:
    columns = ["step", "previous_step", "module", "ratio", "overlap", "by_chance"]
    if not run.has("gsnr_masks"):
        return pd.DataFrame(columns=columns)
    frame = run.query(
        'SELECT step, previous_step, module, ratio, taken, taken_before, "both", '
        "taken * taken_before / count AS expected FROM gsnr_masks "
        "UNION ALL BY NAME SELECT step, previous_step, '' AS module, ratio, sum(taken) AS taken, "
        'sum(taken_before) AS taken_before, sum("both") AS "both", '
        "sum(taken) * sum(taken_before) / sum(count) AS expected "
        "FROM gsnr_masks GROUP BY ALL ORDER BY step, ratio"
    )
    union = frame["taken"] + frame["taken_before"]
    for name, shared in (("overlap", frame["both"]), ("by_chance", frame["expected"])):
        either = union - shared
        frame[name] = (shared / either.where(either > 0)).astype(float)
    return frame[columns]


def _micro(run: Run) -> pd.DataFrame:
    columns = ["step", "parameter", "groups", "samples", "exact", "raw", "corrected", "noise", "rank"]
    if "micro_groups" not in run.columns("gsnr"):
        return pd.DataFrame(columns=columns)
    frame = run.query(
        "SELECT step, parameter, micro_groups AS groups, samples, quantiles[3] AS exact, micro_quantiles[3] AS raw, "
        "micro_var_sum / nullif(var_sum, 0) AS noise, micro_rank AS rank FROM gsnr "
        "WHERE domain = '' AND micro_groups > 0 ORDER BY step"
    )
    n, k = frame["samples"].to_numpy(dtype=float), frame["groups"].to_numpy(dtype=float)
    frame["exact"] = corrected(frame["exact"].to_numpy(dtype=float), n)
    frame["corrected"] = (k - 3) / (k - 1) * frame["raw"] - 1 / n
    return frame[columns]
