"""What published multi-task optimisers would do with the same gradients.

Symbols: J [T, P] the task gradients as rows, G = J J^T the Gramian, w [T] the weights of the update direction
d = J^T w (a step is theta <- theta - eta d), s_i = sqrt(G_ii), Delta the simplex (w >= 0, sum w = 1). Every method here
needs G alone, so it can be replayed from a recorded Gramian:

    sum         w = 1
    MGDA        argmin over Delta of w^T G w                                          Desideri 2012; Sener & Koltun 2018
    CAGrad      1/T + c |g0| / sqrt(u^T G u) u,  u = argmin over Delta of
                u^T G 1/T + c |g0| sqrt(u^T G u),  |g0|² = 1^T G 1 / T²,  c = 0.5      Liu et al. 2021
    IMTL-G      G^+ s / (1^T G^+ s)                                                    Liu et al. 2021
    Nash-MTL    G w = 1 / w, w > 0                                                     Navon et al. 2022
    Aligned-MTL B 1/T,  B = sqrt(lambda_min > 0) V Lambda^(-1/2) V^T                    Senushkin et al. 2023
    UPGrad      mean over i of argmin over v >= e_i of v^T G v                         Quinton & Rey 2024
    DualProj    argmin over v >= 1/T of v^T G v                                        Lopez-Paz & Ranzato 2017, GEM
    PCGrad      each e_i made orthogonal to the tasks it conflicts with, in random order; summed      Yu et al. 2020
    GradVac     the same loop with a moving target for the cosine instead of 0         Wang et al. 2021
    ConFIG      the direction with the same cosine to every gradient, of length sum_i <g_i, d/|d|>    Liu et al. 2024
    GradNorm    w moves down sum_i |w_i s_i - s r_i^a|, s the mean of w_i s_i, r_i the loss ratio L_i / L_i(0) over its
                mean, sum w = T; here its balance point w_i ~ r_i^a / s_i, a = 1.5                    Chen et al. 2018

Ours: the exact non-negative least squares form of MGDA, UPGrad and DualProj; the mean over orders for PCGrad (all of
them up to six tasks, else a fixed draw); no cap on the step of Nash-MTL and no rescaling in CAGrad, since methods are
compared at equal update norm; for GradNorm the point at which its weights rest, since the path there takes every
training step. GradVac's target moves from one recorded step to the next. Not functions of G, hence absent: GradDrop
(coordinates), uncertainty weighting, DWA, FAMO and random weighting (losses or chance alone).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import permutations
from math import factorial

import numpy as np
from jaxtyping import Float, Int

#: Radius of CAGrad's search, as in the paper.
CAGRAD_C = 0.5
#: Weight of the newest cosine in GradVac's target; the paper's code uses 0.01, two libraries 0.5.
GRADVAC_BETA = 0.5
#: GradNorm's exponent of the training rate, as in the paper.
GRADNORM_ALPHA = 1.5
#: Orders of the tasks that PCGrad and GradVac are averaged over when there are too many for all.
MAX_ORDERS = 120
#: Eigenvalues below this share of the largest count as 0.
RANK_TOLERANCE = 1e-10

Gram = Float[np.ndarray, "T T"]
Weights = Float[np.ndarray, " T"]


@dataclass(frozen=True)
class Aggregator:
    """A method: ``weights(G)`` gives w; NaN where the method has no answer (a singular G for some)."""

    name: str
    weights: Callable[[Gram], Weights]
    about: str


def plain_sum(gram: Gram) -> Weights:
    return np.ones(len(gram))


def mean(gram: Gram) -> Weights:
    return np.full(len(gram), 1 / len(gram))


def mgda(gram: Gram) -> Weights:
    """min |J^T w|² over the simplex: minimising |A w|² + (1^T w - 1)² over w >= 0 gives its direction exactly.

    For w = a v with v in the simplex, the best a leaves q / (1 + q) with q = |A v|², which grows with q.
    """
    from scipy.optimize import nnls

    root = _root(gram / _scale(gram))
    found, _ = nnls(np.vstack([root, np.ones(len(gram))]), np.append(np.zeros(len(root)), 1.0))
    return found / found.sum()


def cagrad(gram: Gram, c: float = CAGRAD_C) -> Weights:
    """The paper's dual problem over the simplex, solved by sequential quadratic programming."""
    from scipy.optimize import LinearConstraint, minimize

    n_tasks = len(gram)
    scaled = gram / _scale(gram)
    average = np.ones(n_tasks) / n_tasks
    to_average = scaled @ average
    radius = c * np.sqrt(max(float(average @ to_average), 0.0))

    def value(u: np.ndarray) -> float:
        return float(u @ to_average) + radius * float(np.sqrt(max(u @ scaled @ u, 1e-24)))

    def slope(u: np.ndarray) -> np.ndarray:
        product = scaled @ u
        return to_average + radius * product / np.sqrt(max(u @ product, 1e-24))

    found = minimize(
        value,
        average,
        jac=slope,
        method="SLSQP",
        bounds=[(0, 1)] * n_tasks,
        constraints=LinearConstraint(np.ones((1, n_tasks)), 1.0, 1.0),
        options={"ftol": 1e-14, "maxiter": 500},
    )
    u = np.clip(found.x, 0, None)
    length = np.sqrt(max(float(u @ scaled @ u), 1e-24))
    return average + radius / length * u


def imtl_g(gram: Gram) -> Weights:
    """Equal projections on all unit gradients; weights may be negative. 0 when their sum is."""
    found = _pseudo_inverse(gram) @ np.sqrt(np.diag(gram))
    total = found.sum()
    return found / total if abs(total) > RANK_TOLERANCE * np.abs(found).sum() else np.zeros(len(gram))


def nash_mtl(gram: Gram, max_iterations: int = 200) -> Weights:
    """Minimiser of w^T G w / 2 - sum log w by Newton's method with step halving; NaN where it does not exist."""
    scale = _scale(gram)
    scaled = gram / scale
    w = 1 / np.sqrt(np.maximum(np.diag(scaled), RANK_TOLERANCE))
    for _ in range(max_iterations):
        gradient = scaled @ w - 1 / w
        if np.abs(gradient * w).max() < 1e-12:
            return w / np.sqrt(scale)
        try:
            step = np.linalg.solve(scaled + np.diag(1 / w**2), gradient)
        except np.linalg.LinAlgError:
            break
        decrement = np.sqrt(max(float(gradient @ step), 0.0))
        # A self-concordant function: this step length keeps w > 0 and always descends.
        w = w - step / (1 + decrement if decrement > 0.25 else 1.0)
        if not np.isfinite(w).all() or w.max() > 1e8:
            break
    return np.full(len(gram), np.nan)


def aligned_mtl(gram: Gram) -> Weights:
    values, vectors = np.linalg.eigh(gram)
    kept = values > RANK_TOLERANCE * values.max()
    balance = np.sqrt(values[kept].min()) * (vectors[:, kept] / np.sqrt(values[kept])) @ vectors[:, kept].T
    return balance @ mean(gram)


def upgrad(gram: Gram) -> Weights:
    return np.mean([_project(gram, row) for row in np.eye(len(gram))], axis=0)


def dual_proj(gram: Gram) -> Weights:
    return _project(gram, mean(gram))


def pcgrad(gram: Gram) -> Weights:
    return _surgery(gram, None)


def config(gram: Gram) -> Weights:
    found = _pseudo_inverse(gram) @ np.sqrt(np.diag(gram))
    product = gram @ found
    square = float(found @ product)
    return found * (float(product.sum()) / square) if square > 0 else np.zeros(len(gram))


def gradvac(gram: Gram, target: Gram) -> Weights:
    """GradVac for given target cosines (symmetric; the diagonal is not used)."""
    return _surgery(gram, target)


def next_target(gram: Gram, target: Gram, beta: float = GRADVAC_BETA) -> Gram:
    """The moving mean of the observed cosines."""
    norm = np.sqrt(np.diag(gram))
    product = norm[:, None] * norm[None, :]
    cosine = np.where(product > 0, gram, 0.0) / np.where(product > 0, product, 1.0)
    return (1 - beta) * target + beta * cosine


def gradnorm_targets(norms: Weights, w: Weights, loss_ratio: Weights, alpha: float = GRADNORM_ALPHA) -> Weights:
    """s r_i^alpha: where GradNorm wants every w_i s_i."""
    return (w * norms).mean() * (loss_ratio / loss_ratio.mean()) ** alpha


def gradnorm_step(norms: Weights, w: Weights, loss_ratio: Weights, lr: float, alpha: float = GRADNORM_ALPHA) -> Weights:
    """One step of the weights down sum_i |w_i s_i - target_i|, targets held constant; then sum w = T again."""
    slope = norms * np.sign(w * norms - gradnorm_targets(norms, w, loss_ratio, alpha))
    moved = w - lr * slope
    return moved * len(w) / moved.sum()


def gradnorm(gram: Gram, loss_ratio: Weights, alpha: float = GRADNORM_ALPHA) -> Weights:
    """The weights at which every w_i s_i is its target; NaN without losses or for a gradient of 0."""
    norms = np.sqrt(np.diag(gram))
    if not (np.isfinite(loss_ratio).all() and (loss_ratio > 0).all() and (norms > 0).all()):
        return np.full(len(gram), np.nan)
    w = (loss_ratio / loss_ratio.mean()) ** alpha / norms
    return w * len(w) / w.sum()


#: What the replay compares, the baseline first.
AGGREGATORS: tuple[Aggregator, ...] = (
    Aggregator("plain sum", plain_sum, "add the gradients"),
    Aggregator("MGDA", mgda, "the shortest vector among all mixtures: every task gains equally"),
    Aggregator("CAGrad", cagrad, "the best worst task near the mean gradient"),
    Aggregator("IMTL-G", imtl_g, "equal projections on every task's direction"),
    Aggregator("Nash-MTL", nash_mtl, "a bargain: no task can gain more than another loses, in percent"),
    Aggregator("Aligned-MTL", aligned_mtl, "make the gradients orthogonal and equally long"),
    Aggregator("UPGrad", upgrad, "project each gradient until it harms no task, then average"),
    Aggregator("DualProj", dual_proj, "project the mean until it harms no task"),
    Aggregator("PCGrad", pcgrad, "cut from each gradient what conflicts, pair by pair"),
    Aggregator("ConFIG", config, "the same cosine to every task"),
)
#: Found by name.
BY_NAME: Mapping[str, Aggregator] = {aggregator.name: aggregator for aggregator in AGGREGATORS}


def orders(n_tasks: int) -> Int[np.ndarray, "R T"]:
    """All orders of the tasks, or a fixed draw of ``MAX_ORDERS`` of them."""
    if factorial(n_tasks) <= MAX_ORDERS * 6:
        return np.array(list(permutations(range(n_tasks))))
    rng = np.random.default_rng(0)
    return np.stack([rng.permutation(n_tasks) for _ in range(MAX_ORDERS)])


def _surgery(gram: Gram, target: Gram | None) -> Weights:
    """PCGrad's loop (or GradVac's, with targets) for every task and order at once; coefficient vectors c [R, T, T]."""
    n_tasks = len(gram)
    order = orders(n_tasks)
    coefficients = np.broadcast_to(np.eye(n_tasks), (len(order), n_tasks, n_tasks)).copy()
    task = np.arange(n_tasks)
    run = np.arange(len(order))
    for j in order.T:  # [R]: the task that comes next in every order
        inner = np.einsum("rit,rt->ri", coefficients, gram[:, j].T)  # <g_i', g_j>
        other = task[None, :] != j[:, None]
        change = _cut(inner, gram[j, j]) if target is None else _lift(coefficients, inner, gram, j, target)
        coefficients[run[:, None], task[None, :], j[:, None]] += np.where(other, change, 0.0)
    return coefficients.sum(axis=1).mean(axis=0)


def _cut(inner: Float[np.ndarray, "R T"], square: Float[np.ndarray, " R"]) -> Float[np.ndarray, "R T"]:
    safe = np.where(square > 0, square, 1.0)[:, None]
    return np.where((inner < 0) & (square > 0)[:, None], -inner / safe, 0.0)


def _lift(
    coefficients: Float[np.ndarray, "R T T"],
    inner: Float[np.ndarray, "R T"],
    gram: Gram,
    j: Int[np.ndarray, " R"],
    target: Gram,
) -> Float[np.ndarray, "R T"]:
    """How much of g_j brings the cosine of g_i' and g_j up to the target."""
    own = np.sqrt(np.maximum(((coefficients @ gram) * coefficients).sum(axis=-1), 0.0))
    length = np.sqrt(gram[j, j])[:, None]
    usable = (own > 0) & (length > 0)
    safe_own, safe_length = np.where(usable, own, 1.0), np.where(length > 0, length, 1.0)
    phi = np.clip(inner / (safe_own * safe_length), -1.0, 1.0)
    goal = np.clip(target[j], -0.999, 0.999)
    wanted = goal * np.sqrt(1 - phi**2) - phi * np.sqrt(1 - goal**2)
    return np.where(usable & (phi < goal), own * wanted / (safe_length * np.sqrt(1 - goal**2)), 0.0)


def _project(gram: Gram, lower: Weights) -> Weights:
    """argmin over v >= lower of v^T G v, as non-negative least squares in v - lower."""
    from scipy.optimize import nnls

    root = _root(gram / _scale(gram))
    found, _ = nnls(root, -root @ lower)
    return lower + found


def _scale(gram: Gram) -> float:
    """Mean squared norm, so that tolerances do not depend on the size of the gradients; 1 for zero gradients."""
    return float(np.trace(gram)) / len(gram) or 1.0


def _root(gram: Gram) -> Gram:
    """A with A^T A = G; negative eigenvalues (rounding) count as 0."""
    values, vectors = np.linalg.eigh(gram)
    return np.sqrt(np.clip(values, 0, None))[:, None] * vectors.T


def _pseudo_inverse(gram: Gram) -> Gram:
    return np.linalg.pinv(gram, rcond=RANK_TOLERANCE, hermitian=True)
