"""How classes move in feature space while further tasks are learned, and what learned class metrics make of domains.

    radius_c²  = tr W_c,  W_c the covariance of class c within its domains
    drift      = ‖m_cd(t) − m_cd(u)‖ / radius_c(u)                        m_cd: centre of class c in domain d
    shift      = sqrt(max(0, ‖Δ‖² − E‖noise of both means‖²)) / radius_c  Δ: from the centre over the seen domains
    in metric  : the same with vᵀ Σ_c v for ‖v‖²
    ignored    = 1 − tr(Σ_c V_c) / (λ_max(Σ_c) tr V_c)                    V_c: covariance of the m_cd over domains
    by chance  = 1 − tr(Σ_c) / (λ_max(Σ_c) D)                             if domains differed in every direction alike

t: after task t, u: after the task in which the class was learned. Class metrics are recorded as the array
``class_metrics.<layer>`` with ``factors`` [C, R, D] (Σ_c = L_cᵀ L_c) and ``classes`` [C], codes into the classes of the
task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from workbench.core import Run, WorkbenchError

_MIN_POINTS = 3


@dataclass(frozen=True)
class Geometry:
    """Tables about one layer, after every task that has embeddings. Lengths are in radii of the class.

    Attributes:
        layer: The last layer with embeddings, or the one that has class metrics.
        drift: class, stage (in which it was learned, from 1), learned, domain, drift, in_metric.
        shift: After the last task: class, domain, shift, in_metric.
        spectrum: After the last task: class, place (from 1), eigenvalue, effective_rank exp H(λ / Σ λ). Empty without
            class metrics, as is the next one.
        ignored: After the last task: class, ignored, chance.
    """

    layer: str
    drift: pd.DataFrame
    shift: pd.DataFrame
    spectrum: pd.DataFrame
    ignored: pd.DataFrame


@dataclass(frozen=True)
class _Look:
    """The embedded samples after one task."""

    values: Float[np.ndarray, "N D"]
    sample: Int[np.ndarray, " N"]
    metrics: Mapping[str, Float[np.ndarray, "D D"]]


def geometry_of(
    run: Run, attribute: str, stages: tuple[str, ...], steps: tuple[int, ...], task: str
) -> Geometry | None:
    """The tables; None when no layer has embeddings after the last task.

    Args:
        attribute: Column of ``samples`` that names the stage in which a sample's class was learned.
        task: Whose targets are the classes.
    """
    if not run.has("embeddings"):
        return None
    layer = _layer(run, steps[-1])
    if layer is None:
        return None
    about = _about(run, attribute, stages, task)
    looks = {t + 1: look for t, step in enumerate(steps) if (look := _look(run, layer, step, task)) is not None}
    last = looks.get(len(steps))
    if last is None:
        return None
    return Geometry(
        layer, _drift(looks, about), _shift(last, about, _seen(run)), _spectrum(last), _ignored(last, about)
    )


def _layer(run: Run, step: int) -> str | None:
    found = run.query("SELECT DISTINCT layer FROM embeddings WHERE step = ?", [step])["layer"]
    layers = [name for name in run.info.layers if name in set(found)] or sorted(found)
    measured = [name for name in layers if step in run.array_steps(f"class_metrics.{name}")]
    return (measured or layers)[-1] if layers else None


def _about(run: Run, attribute: str, stages: tuple[str, ...], task: str) -> pd.DataFrame:
    """Class, domain and stage (from 1) of every sample, by its id."""
    frame = run.table("samples", ["sample", "domain", attribute, f"target_{task}"]).drop_duplicates("sample")
    names = run.info.task(task).classes
    target = frame[f"target_{task}"]
    if names and pd.api.types.is_numeric_dtype(target):
        target = target.map(lambda code: names[int(code)] if 0 <= code < len(names) else None)
    place = {stage: i + 1 for i, stage in enumerate(stages)}
    stage = frame[attribute].astype(str).map(place)
    found = pd.DataFrame({"class": target, "domain": frame["domain"].fillna(""), "stage": stage})
    return found.set_index(frame["sample"]).dropna().astype({"class": str, "domain": str, "stage": int})


def _look(run: Run, layer: str, step: int, task: str) -> _Look | None:
    try:
        values, sample = run.embedding(layer, step)
    except WorkbenchError:
        return None
    finite = np.isfinite(values).all(axis=1)
    metrics: dict[str, np.ndarray] = {}
    if step in run.array_steps(f"class_metrics.{layer}"):
        arrays = run.array(f"class_metrics.{layer}", step)
        names = run.info.task(task).classes
        for code, factor in zip(arrays["classes"].tolist(), arrays["factors"].astype(np.float64), strict=True):
            metrics[names[code] if code < len(names) else str(code)] = factor.T @ factor
    return _Look(values[finite].astype(np.float64), sample[finite], metrics)


def _seen(run: Run) -> frozenset[str]:
    return frozenset(domain.name for domain in run.info.domains if not domain.held_out)


def _clouds(look: _Look, about: pd.DataFrame) -> dict[str, dict[str, Float[np.ndarray, "n D"]]]:
    """Class -> domain -> its embeddings, where there are enough."""
    rows = about.reindex(look.sample)
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, domain in rows[["class", "domain"]].dropna().drop_duplicates().itertuples(index=False):
        chosen = ((rows["class"] == name) & (rows["domain"] == domain)).to_numpy()
        if chosen.sum() >= _MIN_POINTS:
            found.setdefault(str(name), {})[str(domain)] = look.values[chosen]
    return found


def _within(clouds: Mapping[str, Float[np.ndarray, "n D"]]) -> Float[np.ndarray, "D D"]:
    """Covariance within the domains of one class."""
    residuals = [cloud - cloud.mean(axis=0) for cloud in clouds.values()]
    freedom = sum(len(cloud) - 1 for cloud in clouds.values())
    stacked = np.concatenate(residuals)
    return np.asarray(stacked.T @ stacked / freedom)


def _in_radii(square: float, within: np.ndarray, metric: np.ndarray | None) -> float:
    """sqrt(square) in radii of the class, by a metric (the plain one when None)."""
    radius = float(np.trace(within) if metric is None else np.trace(metric @ within))
    return float(np.sqrt(max(square, 0.0) / radius)) if radius > 0 else np.nan


def _drift(looks: Mapping[int, _Look], about: pd.DataFrame) -> pd.DataFrame:
    columns = ["class", "stage", "learned", "domain", "drift", "in_metric"]
    clouds = {t: _clouds(look, about) for t, look in looks.items()}
    learned_in = about.drop_duplicates("class").set_index("class")["stage"]
    rows: list[tuple[object, ...]] = []
    for name, stage in learned_in.items():
        if stage not in clouds or name not in clouds[stage]:
            continue
        before = clouds[stage][str(name)]
        within, metric = _within(before), looks[stage].metrics.get(str(name))
        for t in sorted(looks):
            now = clouds[t].get(str(name), {}) if t >= stage else {}
            for domain in before.keys() & now.keys():
                moved = now[domain].mean(axis=0) - before[domain].mean(axis=0)
                measured = np.nan if metric is None else _in_radii(float(moved @ metric @ moved), within, metric)
                rows.append((name, int(stage), t, domain, _in_radii(float(moved @ moved), within, None), measured))
    return pd.DataFrame(rows, columns=columns).sort_values(["stage", "class", "domain", "learned"], ignore_index=True)


def _shift(look: _Look, about: pd.DataFrame, seen: frozenset[str]) -> pd.DataFrame:
    rows = []
    for name, clouds in _clouds(look, about).items():
        within = _within(clouds)
        for domain, cloud in clouds.items():
            others = [other for key, other in clouds.items() if key != domain and (key in seen or not seen)]
            if not others:
                continue
            apart = cloud.mean(axis=0) - np.mean([other.mean(axis=0) for other in others], axis=0)
            # Means of few samples differ by chance: what that adds to the square is taken off.
            noise = 1 / len(cloud) + sum(1 / len(other) for other in others) / len(others) ** 2
            plain = _in_radii(float(apart @ apart - noise * np.trace(within)), within, None)
            metric = look.metrics.get(name)
            measured = np.nan
            if metric is not None:
                square = float(apart @ metric @ apart - noise * np.trace(metric @ within))
                measured = _in_radii(square, within, metric)
            rows.append((name, domain, plain, measured))
    return pd.DataFrame(rows, columns=["class", "domain", "shift", "in_metric"])


def _spectrum(look: _Look) -> pd.DataFrame:
    rows = []
    for name, metric in look.metrics.items():
        values = np.clip(np.linalg.eigvalsh(metric)[::-1], 0, None)
        rows += [(name, i + 1, value, effective_rank(values)) for i, value in enumerate(values)]
    return pd.DataFrame(rows, columns=["class", "place", "eigenvalue", "effective_rank"])


def effective_rank(eigenvalues: Float[np.ndarray, " D"]) -> float:
    """exp H(λ / Σ λ): 1 when one direction holds everything, D when all hold the same. NaN when all are 0."""
    total = eigenvalues.sum()
    if total <= 0:
        return float("nan")
    shares = eigenvalues[eigenvalues > 0] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))


def ignored_share(metric: Float[np.ndarray, "D D"], between: Float[np.ndarray, "D D"]) -> tuple[float, float]:
    """How much of the variance between domains a metric does not see, and how much that would be by chance.

    1: all of it lies where the metric is 0; 0: all along the metric's first direction. NaN for a zero matrix.
    """
    largest = float(np.linalg.eigvalsh(metric)[-1])
    spread = float(np.trace(between))
    if largest <= 0 or spread <= 0:
        return float("nan"), float("nan")
    chance = 1 - float(np.trace(metric)) / (largest * len(metric))
    return 1 - float(np.trace(metric @ between)) / (largest * spread), chance


def _ignored(look: _Look, about: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for name, clouds in _clouds(look, about).items():
        if name in look.metrics and len(clouds) > 1:
            centres = np.stack([cloud.mean(axis=0) for cloud in clouds.values()])
            noise = _within(clouds) * float(np.mean([1 / len(cloud) for cloud in clouds.values()]))
            between = np.cov(centres.T) - noise
            rows.append((name, *ignored_share(look.metrics[name], between)))
    return pd.DataFrame(rows, columns=["class", "ignored", "chance"])
