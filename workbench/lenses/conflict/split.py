"""What a split of channel groups lets through: GradSplit's conflict before and after, its flows, and its evidence.

On the filters of group k, which task k owns, with A the relation (row the group, column the task that may enter):

    C_k = sum_j A_kj max(0, -<g_k, g_j>) / |g_k|²         conflict that reaches the group; before: A of ones
    flow of task j into group k = root of the mean of |g_j|² over the recorded steps
    use of group k by task j = share of the squared weights of j's head on the features of group k
    Z_i<-j = 1 - L_i(θ - η g_j / |g_j|) / L_i(θ)          influence, as the run recorded it before it chose A

Inner products are unbiased and summed over steps, each step on the scale of the owner's squared gradient there. The
relation is the run's own where run.json has one (``config.relation``), else what the intervals of the cosines would
keep out. The interval of Z is the percentile bootstrap over probes.

Source: Deng et al. 2023, Split to Learn (GradSplit), for the groups and the rule; C, flows and Z are this project's
choices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from workbench.core import Run
from workbench.core.gramian import unbiased
from workbench.lenses.conflict.channels import Layout, Routing
from workbench.lenses.conflict.estimates import Estimate, states

#: Arrays in which a run keeps Z of its probes, at step 0, and the use of groups.
INFLUENCE, USE = "influence", "group_use"
RESAMPLES = 2000


@dataclass(frozen=True)
class Split:
    """N layers that were recorded in T groups, in the order of ``Routing.layers``.

    Attributes:
        applied: Whether the run trained under ``relation``.
        relation: A, per layer.
        before, after: C of every group over the tasks whose gradient there is above its noise; NaN where the owner's
            is not, or no other.
        flow: Row the group, column the task; NaN where nothing was above noise.
        influence: Row the task whose loss is measured, column the task that is followed; None where not recorded.
        probes: Number of probes behind ``influence``.
        use: Row the head, column the group; rows sum to 1. None where not recorded.
    """

    layers: tuple[str, ...]
    applied: bool
    relation: Bool[np.ndarray, "N T T"]
    before: Float[np.ndarray, "N T"]
    after: Float[np.ndarray, "N T"]
    flow: Float[np.ndarray, "N T T"]
    influence: Estimate | None
    probes: int
    use: Float[np.ndarray, "T T"] | None


def read_split(run: Run, layout: Layout, routing: Routing | None, steps: Int[np.ndarray, " S"]) -> Split | None:
    """Over the steps given. None where no layer has as many groups as there are tasks, or K is below 2."""
    if routing is None:
        return None
    _, tasks, n_batches = axes = run.gramian_axes()
    if n_batches < 2:
        return None
    n_tasks = len(tasks)
    places = [place for at in layout.grouped(n_tasks) for place in layout.groups[at]]
    shape = (-1, len(routing.layers), n_tasks, n_tasks, n_tasks)
    dot = np.stack([gram.dot[places] for gram in run.gramians(steps.tolist(), axes).values()])  # [S, N·T, T, K, T, K]
    exact, biased = unbiased(dot).reshape(shape), dot.mean(axis=(3, 5)).reshape(shape)
    known = np.isfinite(exact).all(axis=(1, 2, 3, 4))
    if not known.any():
        return None
    exact, biased = exact[known], biased[known]
    given = _relation_of(run, tasks)
    relation = routing.admitted if given is None else np.broadcast_to(given, routing.admitted.shape)
    heard = np.isfinite(routing.cosine.value) & ~np.eye(n_tasks, dtype=bool)
    against = np.where(heard, np.maximum(-_share_of_owner(exact, biased), 0), 0.0)
    against[~heard.any(axis=2)] = np.nan
    square = np.einsum("snkjj->snkj", exact).mean(axis=0)
    influence, probes = _influence(run, n_tasks)
    return Split(
        routing.layers, given is not None, relation, against.sum(axis=2), (relation * against).sum(axis=2),
        np.sqrt(np.where(square > 0, square, np.nan)), influence, probes, _use(run, n_tasks),
    )  # fmt: skip


def _share_of_owner(
    exact: Float[np.ndarray, "S N T T T"], biased: Float[np.ndarray, "S N T T T"]
) -> Float[np.ndarray, "N T T"]:
    """<g_k, g_j> / |g_k|² on group k, steps pooled; NaN where |g_k|² is not above two standard errors over steps."""
    scale = np.einsum("snkkk->snk", biased)
    scale = np.where(scale > 0, scale, np.inf)[..., None]
    by_step = np.einsum("snkkj->snkj", exact) / scale
    inner, own = by_step.sum(axis=0), np.einsum("snkk->snk", by_step)
    spread = np.sqrt(len(own)) * own.std(axis=0, ddof=min(1, len(own) - 1))
    signal = own.sum(axis=0)
    return inner / np.where(signal > 2 * spread, signal, np.nan)[..., None]


def _relation_of(run: Run, tasks: tuple[str, ...]) -> Bool[np.ndarray, "T T"] | None:
    """A from run.json, brought into the lens's order of tasks; None where it is absent or of another shape."""
    given = run.info.config.get("relation")
    names = [task for task in run.task_names if task in tasks]
    try:
        relation = np.asarray(given, dtype=bool)
    except ValueError:
        return None
    if given is None or relation.shape != (len(tasks), len(tasks)) or len(names) != len(tasks):
        return None
    order = [names.index(task) for task in tasks]
    return relation[np.ix_(order, order)]


def _influence(run: Run, n_tasks: int) -> tuple[Estimate | None, int]:
    if 0 not in run.array_steps(INFLUENCE):
        return None, 0
    z = run.array(INFLUENCE, 0).get("z", np.empty(0))
    if z.ndim != 3 or z.shape[1:] != (n_tasks, n_tasks) or len(z) < 3:
        return None, 0
    draws = np.random.default_rng(0).integers(len(z), size=(RESAMPLES, len(z)))
    low, high = np.quantile(z[draws].mean(axis=1), (0.025, 0.975), axis=0)
    value = z.mean(axis=0)
    return Estimate(value, low, high, states(value, low, high, np.isnan(value))), len(z)


def _use(run: Run, n_tasks: int) -> Float[np.ndarray, "T T"] | None:
    """The last record."""
    steps = run.array_steps(USE)
    share = run.array(USE, steps[-1]).get("share", np.empty(0)) if steps else np.empty(0)
    return share.astype(float) if share.shape == (n_tasks, n_tasks) else None
