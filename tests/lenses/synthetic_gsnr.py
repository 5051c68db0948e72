"""GSNR tables made from known per-sample gradients, for the tests of the GSNR lens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workbench.core import Run, RunWriter
from workbench.core.schema import GSNR_LOG10_EDGES, GSNR_QUANTILES


def row(gradients: np.ndarray) -> dict[str, Any]:
    """The numbers of one row of the table, from per-sample gradients [n, P]."""
    mean, var = gradients.mean(axis=0), gradients.var(axis=0, ddof=1)
    raw = mean**2 / var
    log = np.clip(np.log10(raw), GSNR_LOG10_EDGES[0], GSNR_LOG10_EDGES[-1] - 1e-9)
    return {
        "count": gradients.shape[1],
        "samples": len(gradients),
        "histogram": np.histogram(log, GSNR_LOG10_EDGES)[0].tolist(),
        "quantiles": np.quantile(raw, GSNR_QUANTILES, method="inverted_cdf").tolist(),
        "mean_sq_sum": float((mean**2).sum()),
        "var_sum": float(var.sum()),
    }


def gsnr_run(
    path: Path,
    tensors: Sequence[str],
    gradients: Callable[[float, str, np.random.Generator], np.ndarray | Mapping[str, np.ndarray]],
    *,
    n_steps: int = 12,
    modules: Sequence[str] = (),
    domains: Sequence[str] = (),
    seed: int = 0,
    **info: Any,
) -> Run:
    """Record a run. ``gradients(progress, tensor, rng)`` gives per-sample gradients [n, P], or one array per domain."""
    rng = np.random.default_rng(seed)
    with RunWriter(path, modules=modules, domains=domains, **info) as writer:
        for index in range(n_steps):
            for tensor in tensors:
                found = gradients(index / max(1, n_steps - 1), tensor, rng)
                parts = {"": found}
                if isinstance(found, Mapping):
                    parts = {"": np.concatenate(list(found.values())), **found}
                for domain, values in parts.items():
                    columns = {name: [value] for name, value in row(values).items()}
                    fixed = {"step": 10 * index, "module": tensor.rpartition(".")[0], "parameter": tensor}
                    writer.write("gsnr", fixed | {"domain": domain} | columns)
    return Run(path)


def gaussian(rng: np.random.Generator, n: int, n_parameters: int, gsnr: float) -> np.ndarray:
    """Per-sample gradients of unit variance whose every parameter has the given GSNR."""
    return np.sqrt(gsnr) + rng.standard_normal((n, n_parameters))
