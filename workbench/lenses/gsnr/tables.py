"""The numbers behind the figures of the GSNR lens, for download."""

from __future__ import annotations

import numpy as np
import pandas as pd

from workbench.core.schema import GSNR_QUANTILES
from workbench.lenses.gsnr.statistics import Gsnr


def tables(stats: Gsnr) -> dict[str, pd.DataFrame]:
    """Parts by step, the generalisation ratio, domains by step, and collapses."""
    found = {"Modules and parameters over training": _parts(stats), "One-step generalisation ratio": _ratio(stats)}
    if stats.domains:
        found["Domains over training"] = _domains(stats)
    if stats.detail.measured is not None:
        found["Measured generalisation ratio"] = _measured(stats)
    for title, frame in (
        ("Filters", stats.detail.filters),
        ("Signs of domains", stats.detail.signs),
        ("Masks from record to record", stats.detail.masks),
        ("Micro-batches", stats.detail.micro),
    ):
        if len(frame):
            found[title] = frame
    if len(stats.collapses):
        found["Collapses"] = stats.collapses
    return found


def _parts(stats: Gsnr) -> pd.DataFrame:
    step, part = (index.ravel() for index in np.indices(stats.samples.shape))
    kinds = np.array(["all"] + ["module"] * stats.n_modules + ["parameter"] * len(stats.parameters), dtype=object)
    frame = pd.DataFrame(
        {
            "step": stats.steps[step],
            "part": np.asarray(stats.parts, dtype=object)[part],
            "kind": kinds[part],
            "parameters": stats.count[part],
            "samples": stats.samples[step, part],
            "gsnr_as_a_whole": stats.snr[step, part],
            "share_with_signal": stats.signal_share[step, part],
        }
    )
    for place, probability in enumerate(GSNR_QUANTILES):
        frame[f"quantile_{100 * probability:.0f}"] = stats.quantiles[step, part, place]
    return frame


def _ratio(stats: Gsnr) -> pd.DataFrame:
    frame = pd.DataFrame(stats.loss_share, columns=[f"lost in {module}" for module in stats.modules])
    frame.insert(0, "predicted_ratio", stats.osgr)
    frame.insert(0, "step", stats.steps)
    return frame


def _measured(stats: Gsnr) -> pd.DataFrame:
    found = stats.detail.measured
    assert found is not None
    columns = {"step": found.steps, "samples": found.samples, "predicted_ratio": found.predicted}
    return pd.DataFrame(columns | {"measured_ratio": found.ratio, "low": found.low, "high": found.high})


def _domains(stats: Gsnr) -> pd.DataFrame:
    names = stats.parts[: 1 + stats.n_modules]
    step, domain, part = (index.ravel() for index in np.indices(stats.domain_snr.shape))
    return pd.DataFrame(
        {
            "step": stats.steps[step],
            "part": np.asarray(names, dtype=object)[part],
            "domain": np.asarray(stats.domains, dtype=object)[domain],
            "gsnr_as_a_whole": stats.domain_snr[step, domain, part],
            "cosine_between_domains": stats.agreement[step, part],
        }
    )
