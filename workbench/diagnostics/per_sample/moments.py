"""Count, mean and squared deviations of per-sample gradients, and what follows from them.

Symbols: n samples with per-sample gradients g_1 … g_n of one parameter, m their mean, s² their unbiased variance.

    raw GSNR        m² / s²
    corrected GSNR  (n − 3) / (n − 1) · m² / s² − 1 / n
    OSGR            Σ (m² − s²/n) / Σ (m² − s²/n + s²/N)      sums over parameters, N the size of the training set

Sources: Liu et al. 2020, Understanding Why Neural Networks Generalize Well Through GSNR of Parameters,
arXiv:2001.07384, Definition 1 and the one-step generalisation ratio. Merging: Chan, Golub, LeVeque 1979.

Ours: the correction. For Gaussian gradients E[m²/s²] = (n − 1)/(n − 3) · (GSNR + 1/n), so the corrected value is
unbiased there; it may be negative, like any unbiased estimate of a quantity near 0. OSGR keeps negative terms, because
cutting each at 0 would bring the bias back. We add no constant to the denominator: a parameter whose gradient is the
same non-zero number for every sample has GSNR inf, one whose gradient is always 0 has GSNR 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from workbench.core.errors import ConfigError
from workbench.core.schema import GSNR_LOG10_EDGES, GSNR_QUANTILES

#: Name of the entry that holds all samples, whatever their domain.
POOLED = ""


@dataclass(frozen=True)
class Moments:
    """Moments of the per-sample gradients of each parameter tensor, over all samples and per domain.

    Attributes:
        count: Samples per domain; ``""`` is all of them.
        mean: ``mean[parameter][domain]``: mean per-sample gradient, float64, in the shape of the parameter.
        m2: Likewise the sum of squared deviations from that mean.
        fallback: Parameters that no fast rule covers, with the way they were measured instead and why. Their numbers
            are exact too; they cost more.
        unused: Parameters that no loss depends on; their gradients are 0.
    """

    count: Mapping[str, int]
    mean: Mapping[str, Mapping[str, Float[np.ndarray, "..."]]]
    m2: Mapping[str, Mapping[str, Float[np.ndarray, "..."]]]
    fallback: Mapping[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the measured parameter tensors, in the order of the model."""
        return tuple(self.mean)

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the domains, without the pooled entry."""
        return tuple(domain for domain in self.count if domain != POOLED)

    def variance(self, parameter: str, domain: str = POOLED) -> Float[np.ndarray, "..."]:
        """Unbiased variance of the per-sample gradients. NaN with fewer than 2 samples.

        Raises:
            ConfigError: no such parameter or domain.
        """
        n, _, m2 = self._entry(parameter, domain)
        return np.asarray(m2 / (n - 1)) if n > 1 else np.full_like(m2, np.nan)

    def gsnr(self, parameter: str, domain: str = POOLED, *, corrected: bool = True) -> Float[np.ndarray, "..."]:
        """GSNR of each entry of a parameter tensor; see the module's text for the two forms.

        NaN where the number of samples is too small: below 2 for the raw, below 4 for the corrected form.

        Raises:
            ConfigError: no such parameter or domain.
        """
        n, mean, _ = self._entry(parameter, domain)
        raw = _ratio(mean, self.variance(parameter, domain))
        if not corrected:
            return raw
        return np.asarray((n - 3) / (n - 1) * raw - 1 / n) if n > 3 else np.full_like(raw, np.nan)

    def domain_gsnr(self, parameter: str) -> Float[np.ndarray, "..."]:
        """Agreement between domains: (mean over domains of the domain means)² / their population variance.

        Source: Michalkiewicz et al. 2023, arXiv:2310.07361, does not say whether its variance runs over samples or
        over domains; this is the second reading.

        Raises:
            ConfigError: fewer than 2 domains were measured, or no such parameter.
        """
        if len(self.domains) < 2:
            raise ConfigError(
                f"GSNR between domains needs at least 2 domains; these moments hold {len(self.domains)}. "
                "Pass domains= to measure, or use gsnr() for GSNR between samples."
            )
        means = np.stack([self._entry(parameter, domain)[1] for domain in self.domains])
        return _ratio(np.asarray(means.mean(axis=0)), np.asarray(means.var(axis=0)))

    def osgr(self, n: int | None = None, domain: str = POOLED, parameters: Sequence[str] | None = None) -> float:
        """One-step generalisation ratio: the share of a step's training gain that an independent set would share.

        Args:
            n: Size of the training set; by default the number of samples measured.
            parameters: Sum over these tensors only; all by default.

        Returns:
            At most about 1; near 0 or below when the gradient is noise. NaN with fewer than 2 samples or no gradient.

        Raises:
            ConfigError: n is not positive, or no such parameter or domain.
        """
        samples = self._samples(domain)
        if n is not None and n < 1:
            raise ConfigError(f"n, the size of the training set, must be at least 1; got {n}.")
        if samples < 2:
            return float("nan")
        signal = noise = 0.0
        for parameter in self.parameters if parameters is None else parameters:
            _, mean, m2 = self._entry(parameter, domain)
            variance = float(m2.sum()) / (samples - 1)
            signal += float(np.vdot(mean, mean)) - variance / samples
            noise += variance
        total = signal + noise / (samples if n is None else n)
        return signal / total if total != 0 else float("nan")

    def merge(self, other: Moments) -> Moments:
        """The moments of both sets of samples together (Chan's formula).

        Raises:
            ConfigError: the two do not hold the same parameters in the same shapes.
        """
        _require_same_parameters(self, other)
        domains = dict.fromkeys((*self.count, *other.count))
        count = {domain: self.count.get(domain, 0) + other.count.get(domain, 0) for domain in domains}
        mean: dict[str, dict[str, np.ndarray]] = {name: {} for name in self.mean}
        m2: dict[str, dict[str, np.ndarray]] = {name: {} for name in self.mean}
        for name in self.mean:
            for domain in domains:
                parts = [part._entry(name, domain) for part in (self, other) if domain in part.count]
                _, mean[name][domain], m2[name][domain] = parts[0] if len(parts) == 1 else _chan(*parts)
        unused = tuple(name for name in self.unused if name in other.unused)
        return Moments(count, mean, m2, {**other.fallback, **self.fallback}, unused)

    def table(self, module_of: Callable[[str], str] | None = None) -> dict[str, list]:
        """Columns of the ``gsnr`` table of the run format, one row per parameter tensor and domain, without ``step``.

        Domains with fewer than 2 samples are left out: they have no variance.

        Args:
            module_of: Names the module of a parameter; by default the parameter's name without its last part.
        """
        module_of = module_of or (lambda name: name.rpartition(".")[0])
        rows: dict[str, list] = {column: [] for column in _COLUMNS}
        for name in self.parameters:
            for domain, samples in self.count.items():
                if samples < 2:
                    continue
                raw = self.gsnr(name, domain, corrected=False).ravel()
                mean = self.mean[name][domain]
                values = (
                    module_of(name),
                    name,
                    domain,
                    raw.size,
                    samples,
                    histogram(raw).tolist(),
                    # Sorted values, not interpolated ones: between a finite value and inf there is nothing to blend.
                    np.quantile(raw, GSNR_QUANTILES, method="inverted_cdf").tolist(),
                    float(np.vdot(mean, mean)),
                    float(self.m2[name][domain].sum()) / (samples - 1),
                )
                for column, value in zip(_COLUMNS, values, strict=True):
                    rows[column].append(value)
        return rows

    def _samples(self, domain: str) -> int:
        if domain not in self.count:
            known = ", ".join(map(repr, self.domains)) or "none"
            raise ConfigError(f"No domain {domain!r} was measured; domains: {known}.")
        return self.count[domain]

    def _entry(self, parameter: str, domain: str) -> tuple[int, np.ndarray, np.ndarray]:
        samples = self._samples(domain)
        if parameter not in self.mean:
            raise ConfigError(
                f"Parameter {parameter!r} was not measured. Measured: {', '.join(self.parameters) or 'none'}."
            )
        return samples, self.mean[parameter][domain], self.m2[parameter][domain]


_COLUMNS = (
    "module",
    "parameter",
    "domain",
    "count",
    "samples",
    "histogram",
    "quantiles",
    "mean_sq_sum",
    "var_sum",
)


def histogram(raw: Float[np.ndarray, " P"]) -> Int[np.ndarray, " 48"]:
    """Counts of log10 raw GSNR in the fixed bins of the run format; 0, inf and far values fall in the outer bins."""
    with np.errstate(divide="ignore"):
        bins = np.searchsorted(GSNR_LOG10_EDGES, np.log10(raw), side="right") - 1
    n_bins = len(GSNR_LOG10_EDGES) - 1
    return np.bincount(np.clip(bins, 0, n_bins - 1), minlength=n_bins)


def _ratio(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """mean² / variance, with 0/0 = 0 and x/0 = inf."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.square(mean) / variance
    return np.where((mean == 0) & (variance == 0), 0.0, ratio)


def _chan(
    a: tuple[int, np.ndarray, np.ndarray], b: tuple[int, np.ndarray, np.ndarray]
) -> tuple[int, np.ndarray, np.ndarray]:
    (n_a, mean_a, m2_a), (n_b, mean_b, m2_b) = a, b
    n = n_a + n_b
    if n == 0:
        return a
    delta = mean_b - mean_a
    mean, m2 = mean_a + delta * (n_b / n), m2_a + m2_b + np.square(delta) * (n_a * n_b / n)
    return n, np.asarray(mean), np.asarray(m2)


def _require_same_parameters(a: Moments, b: Moments) -> None:
    shapes_a = {name: values[POOLED].shape for name, values in a.mean.items()}
    shapes_b = {name: values[POOLED].shape for name, values in b.mean.items()}
    differing = sorted(name for name in {*shapes_a, *shapes_b} if shapes_a.get(name) != shapes_b.get(name))
    if differing:
        raise ConfigError(
            "Only moments of the same parameters can be merged; these differ or are missing on one side: "
            f"{', '.join(differing)}."
        )
