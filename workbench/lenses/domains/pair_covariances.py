"""How two samples of one class differ inside a domain, how two of different classes do, and whether domains agree.

    Σ+ = mean of r r' over all ordered pairs of one class,        r = f(x) − f(y), both samples of the domain
    Σ- = the same over all ordered pairs of different classes
    separation = tr Σ- / tr Σ+                                    1 = classes do not stand apart
    agreement  = tr(Σ+_a Σ+_b) / (‖Σ+_a‖ ‖Σ+_b‖)                  in [0, 1]; 1 = alike up to a factor
    angle      = mean principal angle of the leading q directions of Σ+_a and Σ+_b, in degrees

Differences have mean 0 by symmetry, so these are covariances. Source: the metrics of Faraki et al. 2021,
arXiv:2103.07503, section 3.1, there from sampled triplets at every place of a feature map, here from all pairs of
recorded embeddings (our choice).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from workbench.core import Run
from workbench.core.gramian import student95
from workbench.lenses.domains.points import Cohort, Points

#: Directions compared by the angle, and eigenvalues that are kept.
LEADING, SPECTRUM = 3, 20
#: Fewer classes with two samples than this give no interval.
MIN_CLASSES = 3


@dataclass(frozen=True)
class PairCovariances:
    """Tables; empty where no class has two samples in a domain.

    Attributes:
        task: Whose target is the class.
        spectrum: layer, step, domain, kind ("same class", "different classes"), place (from 1), eigenvalue.
        separation: layer, step, domain, value, low, high (95 %, jackknife over classes of the logarithm), classes, n.
        agreement: layer, step, domain_a, domain_b, agreement, angle, chance: the mean angle of random directions.
    """

    task: str | None
    spectrum: pd.DataFrame
    separation: pd.DataFrame
    agreement: pd.DataFrame


@dataclass(frozen=True)
class _Sums:
    """Per class of one domain: number of samples, sum of features, sum of outer products."""

    n: Float[np.ndarray, " C"]
    first: Float[np.ndarray, "C D"]
    second: Float[np.ndarray, "C D D"]


def pair_covariances(run: Run, who: Cohort, points: Mapping[tuple[str, int], Points]) -> PairCovariances:
    """The covariances of every domain, layer and step."""
    task, codes = _classes(run, who, points)
    spectrum, separation, agreement = [], [], []
    for (layer, step), at in points.items():
        if task is None:
            break
        target = codes.reindex(at.sample).fillna(-1).to_numpy(dtype=np.int64)
        same: dict[str, Float[np.ndarray, "D D"]] = {}
        for place, domain in enumerate(who.domains):
            chosen = (at.domain == place) & (target >= 0)
            sums = _sums(at.features[chosen].astype(np.float64), target[chosen])
            if (sums.n >= 2).sum() < 2:
                continue
            where = {"layer": layer, "step": step, "domain": domain}
            within, between = covariances(sums.n, sums.first, sums.second)
            same[domain] = within
            spectrum += [_spectrum(within, "same class", where), _spectrum(between, "different classes", where)]
            separation.append(where | _separation(sums))
        agreement += [{"layer": layer, "step": step} | row for row in _agreements(same)]
    return PairCovariances(
        task,
        pd.concat(spectrum, ignore_index=True) if spectrum else pd.DataFrame(columns=["layer", "step", "domain"]),
        pd.DataFrame(separation, columns=["layer", "step", "domain", "value", "low", "high", "classes", "n"]),
        pd.DataFrame(agreement, columns=["layer", "step", "domain_a", "domain_b", "agreement", "angle", "chance"]),
    )


def _classes(run: Run, who: Cohort, points: Mapping[tuple[str, int], Points]) -> tuple[str | None, pd.Series]:
    """The first classification task whose target most embedded samples have, and the class of every sample.

    The cohort's task comes first; another one serves runs whose embedded samples carry a target of their own.
    """
    known = [task.name for task in run.info.tasks if task.kind == "classification"]
    columns = set(run.columns("samples"))
    for task in dict.fromkeys([*([who.task] if who.task else []), *known]):
        if f"target_{task}" in columns:
            name = '"' + f"target_{task}".replace('"', '""') + '"'
            found = run.query(f"SELECT sample, {name} AS target FROM samples WHERE {name} IS NOT NULL")
            codes = pd.Series(pd.factorize(found["target"], sort=True)[0], index=found["sample"])
            codes = codes[~codes.index.duplicated()]
            if codes.index.isin(who.frame.index).sum() >= 0.5 * len(who.frame):
                return task, codes
    return None, pd.Series(dtype=np.int64)


def _sums(features: Float[np.ndarray, "N D"], target: Int[np.ndarray, " N"]) -> _Sums:
    found, codes = np.unique(target, return_inverse=True)
    centred = features - features.mean(axis=0) if len(features) else features  # differences do not notice
    first = np.stack([centred[codes == c].sum(axis=0) for c in range(len(found))]) if len(found) else centred[:0]
    outer = [centred[codes == c].T @ centred[codes == c] for c in range(len(found))]
    width = features.shape[1]
    second = np.stack(outer) if outer else np.zeros((0, width, width))
    return _Sums(np.bincount(codes, minlength=len(found)).astype(float), first, second)


def covariances(
    n: Float[np.ndarray, " C"], first: Float[np.ndarray, "C D"], second: Float[np.ndarray, "C D D"]
) -> tuple[Float[np.ndarray, "D D"], Float[np.ndarray, "D D"]]:
    """Σ+ and Σ- from the number, sum and sum of outer products of each class's samples; NaN without such pairs.

    Over ordered pairs: sum of (x − y)(x − y)' = 2 n Σ x x' − 2 (Σ x)(Σ x)'.
    """
    within = 2 * (np.einsum("c,cde->de", n, second) - first.T @ first)
    total = first.sum(axis=0)
    everything = 2 * (n.sum() * second.sum(axis=0) - np.outer(total, total))
    n_same = (n * (n - 1)).sum()
    n_other = n.sum() * (n.sum() - 1) - n_same
    with np.errstate(invalid="ignore", divide="ignore"):
        return within / n_same, (everything - within) / n_other


def _spectrum(covariance: Float[np.ndarray, "D D"], kind: str, where: Mapping[str, object]) -> pd.DataFrame:
    values = np.clip(np.linalg.eigvalsh(covariance)[::-1], 0, None)[:SPECTRUM]
    return pd.DataFrame({**where, "kind": kind, "place": np.arange(1, len(values) + 1), "eigenvalue": values})


def _separation(sums: _Sums) -> dict[str, float]:
    """tr Σ- / tr Σ+ with a jackknife interval over classes, on the logarithm."""
    value = _log_ratio(sums.n, sums.first, sums.second)
    n_classes = len(sums.n)
    low = high = np.nan
    if n_classes >= MIN_CLASSES:
        left = np.array(
            [
                _log_ratio(*(np.delete(part, c, axis=0) for part in (sums.n, sums.first, sums.second)))
                for c in range(n_classes)
            ]
        )
        error = np.sqrt((n_classes - 1) / n_classes * ((left - left.mean()) ** 2).sum())
        half = student95(n_classes - 1) * error
        low, high = np.exp(value - half), np.exp(value + half)
    return {"value": float(np.exp(value)), "low": low, "high": high, "classes": n_classes, "n": int(sums.n.sum())}


def _log_ratio(n: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    within, between = covariances(n, first, second)
    with np.errstate(divide="ignore"):
        return float(np.log(np.trace(between)) - np.log(np.trace(within)))


def _agreements(same: Mapping[str, Float[np.ndarray, "D D"]]) -> list[dict[str, object]]:
    names: Sequence[str] = list(same)
    if not names:
        return []
    width = len(next(iter(same.values())))
    q = min(LEADING, width)
    leading = {name: np.linalg.eigh(covariance)[1][:, ::-1][:, :q] for name, covariance in same.items()}
    chance = _chance_angle(width, q)
    return [
        {
            "domain_a": a,
            "domain_b": b,
            "agreement": alikeness(same[a], same[b]),
            "angle": mean_angle(leading[a], leading[b]),
            "chance": chance,
        }
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    ]


def alikeness(a: Float[np.ndarray, "D D"], b: Float[np.ndarray, "D D"]) -> float:
    """tr(a b) / (‖a‖ ‖b‖); NaN where one is 0."""
    norm = np.linalg.norm(a) * np.linalg.norm(b)
    return float((a * b).sum() / norm) if norm > 0 else float("nan")


def mean_angle(a: Float[np.ndarray, "D q"], b: Float[np.ndarray, "D q"]) -> float:
    """Mean principal angle in degrees between the spans of two sets of orthonormal columns."""
    cosines = np.clip(np.linalg.svd(a.T @ b, compute_uv=False), 0, 1)
    return float(np.degrees(np.arccos(cosines)).mean())


def _chance_angle(width: int, q: int, draws: int = 40) -> float:
    """The mean angle of random directions, by simulation with a fixed seed."""
    rng = np.random.default_rng(0)
    bases = [np.linalg.qr(rng.normal(size=(width, q)))[0] for _ in range(draws)]
    return float(np.mean([mean_angle(bases[0], basis) for basis in bases[1:]]))
