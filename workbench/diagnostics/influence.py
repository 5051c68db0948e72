"""Which training data helps a group of samples, and which hurts it? Three answers, for a net's last, linear layer.

train = [head_view(net, images, labels) for net in checkpoints]       # what the head sees of the training samples
tested = [head_view(net, others, truth) for net in checkpoints]       # and of the samples asked about
traced = tracin(train, tested, groups, rates)                         # [N, G]
alike = gradient_cosine(train, tested, groups, rates)                 # [N, G], the same with gradients of length 1
left_out = influence_function(train[-1], tested[-1], groups).values   # [N, G]
summed(left_out, groups_of_training)                                  # which training group hurts which group

All are positive where the training sample helps. The first and the last are in nats of a group's mean cross-entropy:
the loss that a step on the sample takes away, or that leaving it out would add. The second is a cosine.

TracIn's sums belong to the few samples with the longest gradients, those that the net gets most wrong: a whole group of
training labels of which each does a little harm can hide behind them. With gradients of length 1 all count alike.

For logits z = W h + b the gradient of a sample's cross-entropy on [W b] is (p - y) [h 1]ᵀ, and the Hessian is
(diag p - p pᵀ) ⊗ [h 1][h 1]ᵀ, so neither needs automatic differentiation nor an approximate inverse.

Sources: Pruthi et al. 2020, Estimating Training Data Influence by Tracing Gradient Descent, arXiv:2002.08484 (TracInCP,
Equation 6, and its restriction to the last layer); Hammoudeh and Lowd 2022, Identifying a Training-Set Attack's Target
Using Renormalized Influence Estimation, arXiv:2201.10055 (gradients of length 1); Koh and Liang 2017, Understanding
Black-box Predictions via Influence Functions, arXiv:1703.04730 (Equation 2). Ours: the head is first trained to its
optimum on fixed features, with a penalty, so that the Equation's conditions hold; sums by group with intervals over
training samples; the mean instead of the sum of cosines over checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from workbench.core import ConfigError
from workbench.core.gramian import student95
from workbench.diagnostics.attribution_maps import task_logits
from workbench.diagnostics.untouched import apply, device_of, in_batches, untouched

#: Penalty on the squared parameters of the head that the influence function is about, for losses in nats a sample.
PENALTY = 1e-3
#: Largest number of parameters of a head whose Hessian is inverted: it takes their square in memory.
MAX_PARAMETERS = 6000
#: Newton's method ends when no entry of the gradient is larger, and fails after so many steps.
TOLERANCE, MAX_NEWTON = 1e-9, 60


@dataclass(frozen=True)
class HeadView:
    """What a linear head sees of N samples.

    Attributes:
        features: The head's inputs with a column of ones behind them.
        weights: The head's parameters [W b].
    """

    features: Float[np.ndarray, "N D"]
    targets: Int[np.ndarray, " N"]
    weights: Float[np.ndarray, "C D"]

    @property
    def probabilities(self) -> Float[np.ndarray, "N C"]:
        return _softmax(self.features @ self.weights.T)

    @property
    def losses(self) -> Float[np.ndarray, " N"]:
        """Cross-entropy in nats."""
        logits = self.features @ self.weights.T
        top = logits.max(axis=1, keepdims=True)
        total = top[:, 0] + np.log(np.exp(logits - top).sum(axis=1))
        return np.asarray(total - logits[np.arange(len(logits)), self.targets])

    @property
    def residuals(self) -> Float[np.ndarray, "N C"]:
        """Gradient of each sample's loss on the logits."""
        found = self.probabilities
        found[np.arange(len(found)), self.targets] -= 1
        return found


@dataclass(frozen=True)
class LeftOut:
    """What leaving each training sample out would do.

    Attributes:
        values: Rise of a group's mean loss, in nats, when the sample is left out and the head trained anew.
        groups: The G groups, in the order of the columns.
        refitted: The training samples with the head at its optimum, to which the values belong.
    """

    values: Float[np.ndarray, "N G"]
    groups: tuple[str, ...]
    refitted: HeadView


def head_view(
    model: nn.Module,
    inputs: Float[Tensor, "N ..."],
    targets: Int[np.ndarray, " N"],
    *,
    task: str | None = None,
    forward: Callable[[nn.Module, Any], Any] = apply,
) -> HeadView:
    """What the linear layer that makes a task's logits sees of these samples. The model is left as it was.

    Raises:
        ConfigError: no linear layer of the model ends in these logits, or a target is none of its classes.
    """
    linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    handles = [module.register_forward_hook(_keeper(seen, name)) for name, module in linear.items()]
    features, head = [], None
    try:
        with untouched(model), torch.no_grad():
            for batch in in_batches(inputs, 512):
                seen.clear()
                logits = task_logits(forward(model, batch.to(device_of(model))), task)
                made = [name for name, (_, output) in seen.items() if torch.equal(output, logits)]
                if not made:
                    raise ConfigError(
                        f"No linear layer of the model ends in the logits of task {task!r}, so influence on its last "
                        f"layer is not defined. Linear layers: {', '.join(linear) or 'none'}."
                    )
                head = made[-1]
                features.append(seen[head][0].double().cpu().numpy())
    finally:
        for handle in handles:
            handle.remove()
    if head is None:
        raise ConfigError("Influence needs samples; got none.")
    return _view(np.concatenate(features), targets, linear[head])


def tracin(
    train: Sequence[HeadView], tested: Sequence[HeadView], groups: Sequence[str], rates: Sequence[float]
) -> Float[np.ndarray, "N G"]:
    """Loss of each group's mean sample that a step on each training sample takes away, summed over checkpoints.

    Args:
        train, tested: One view a checkpoint.
        groups: The group of each tested sample; columns are sorted by name.
        rates: The step size at each checkpoint.

    Raises:
        ConfigError: not as many views as rates, or not as many groups as tested samples.
    """
    if not len(train) == len(tested) == len(rates) or not rates:
        raise ConfigError(
            f"TracIn needs both views and a rate for every checkpoint; got {len(train)}, {len(tested)} and "
            f"{len(rates)}."
        )
    total = 0.0
    for fitted, asked, rate in zip(train, tested, rates, strict=True):
        gradients = _group_gradients(asked, groups)
        total = total + rate * np.einsum("nc,gcd,nd->ng", fitted.residuals, gradients, fitted.features, optimize=True)
    return np.asarray(total)


def gradient_cosine(
    train: Sequence[HeadView], tested: Sequence[HeadView], groups: Sequence[str], rates: Sequence[float]
) -> Float[np.ndarray, "N G"]:
    """Mean cosine of each training sample's gradient with those of a group, over the group and the checkpoints.

    In [-1, 1]; checkpoints are weighted by their step size. A gradient of zero has cosine 0 with all others. Arguments
    and errors as of :func:`tracin`.
    """
    fitted, asked = ([_unit_gradients(view) for view in views] for views in (train, tested))
    return tracin(fitted, asked, groups, rates) / sum(rates)


def influence_function(train: HeadView, tested: HeadView, groups: Sequence[str], penalty: float = PENALTY) -> LeftOut:
    """How much each group's mean loss rises when a training sample is left out and the head is trained anew.

    To first order in 1 / N, with the exact Hessian, at the optimum of mean cross-entropy + penalty / 2 |W b|² on the
    given features. The layers before the head stay as they are.

    Raises:
        ConfigError: the penalty is not positive, the head has more than :data:`MAX_PARAMETERS` parameters, or not as
            many groups as tested samples.
    """
    if train.weights.size > MAX_PARAMETERS:
        raise ConfigError(
            f"The head has {train.weights.size:,} parameters; leaving out by the exact Hessian is for at most "
            f"{MAX_PARAMETERS:,}. TracIn and cosines of gradients have no such limit."
        )
    if penalty <= 0:
        raise ConfigError(f"The penalty must be positive, or the head has no single optimum; got {penalty}.")
    fitted = refit(train, penalty)
    asked = HeadView(tested.features, tested.targets, fitted.weights)
    gradients = _group_gradients(asked, groups)
    turned = np.linalg.solve(_hessian(fitted, penalty), gradients.reshape(len(gradients), -1).T).T
    turned = turned.reshape(gradients.shape)
    values = np.einsum("nc,gcd,nd->ng", fitted.residuals, turned, fitted.features, optimize=True)
    return LeftOut(values / len(fitted.targets), tuple(sorted(set(groups))), fitted)


def refit(view: HeadView, penalty: float = PENALTY) -> HeadView:
    """The same samples with the head at the optimum of mean cross-entropy + penalty / 2 |W b|², by damped Newton steps.

    Raises:
        ConfigError: it does not get there, e.g. because features are not finite.
    """
    current = view
    for _ in range(MAX_NEWTON):
        gradient = current.residuals.T @ current.features / len(current.targets) + penalty * current.weights
        if np.abs(gradient).max() < TOLERANCE:
            return current
        step = np.linalg.solve(_hessian(current, penalty), gradient.ravel()).reshape(gradient.shape)
        current = _downhill(current, step, float((gradient * step).sum()), penalty)
    raise ConfigError(f"The head's optimum was not found in {MAX_NEWTON} steps; are the features finite?")


def summed(values: Float[np.ndarray, "N G"], groups: Sequence[str], sources: Sequence[str]) -> pd.DataFrame:
    """Influence of each training group on each group: columns source, group, n, total, mean, low, high, usual.

    ``total`` is the sum over the source's n samples, ``mean`` a sample's, with Student's 95 % interval over them (NaN
    for a single one), and ``usual`` the mean over all training samples. It need not be 0: where the loss would fall if
    the penalty weighed more, all samples hurt a little. A training group stands out when its interval misses both 0
    and ``usual``. The rows of one group are sorted by ``mean``: what hurts it most comes first.
    """
    rows = []
    names, usual = np.asarray(sources), values.mean(axis=0)
    if len(names) != len(values):
        raise ConfigError(f"Every training sample needs a group; got {len(names)} for {len(values)} samples.")
    for source in sorted(set(names.tolist())):
        some = values[names == source]
        n = len(some)
        mean = some.mean(axis=0)
        half = student95(n - 1) * some.std(axis=0, ddof=1) / n**0.5 if n > 1 else np.full(len(mean), np.nan)
        for at, group in enumerate(groups):
            low, high = mean[at] - half[at], mean[at] + half[at]
            rows.append((source, group, n, n * mean[at], mean[at], low, high, usual[at]))
    frame = pd.DataFrame(rows, columns=["source", "group", "n", "total", "mean", "low", "high", "usual"])
    return frame.sort_values(["group", "mean"], kind="stable", ignore_index=True)


def _keeper(seen: dict[str, tuple[Tensor, Tensor]], name: str) -> Callable[..., None]:
    def keep(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen[name] = (inputs[0], output)

    return keep


def _view(features: np.ndarray, targets: np.ndarray, linear: nn.Linear) -> HeadView:
    weight = linear.weight.detach().double().cpu().numpy()
    bias = np.zeros(len(weight)) if linear.bias is None else linear.bias.detach().double().cpu().numpy()
    targets = np.asarray(targets, dtype=np.int64)
    if len(targets) != len(features) or targets.min() < 0 or targets.max() >= len(weight):
        raise ConfigError(
            f"Targets must be {len(features)} classes from 0 to {len(weight) - 1}; got {len(targets)} from "
            f"{targets.min()} to {targets.max()}."
        )
    ones = np.ones((len(features), 1))
    return HeadView(np.hstack([features, ones]), targets, np.hstack([weight, bias[:, None]]))


@dataclass(frozen=True)
class _UnitView(HeadView):
    """A view whose gradients have length 1."""

    @property
    def residuals(self) -> Float[np.ndarray, "N C"]:
        found = super().residuals
        length = np.linalg.norm(found, axis=1) * np.linalg.norm(self.features, axis=1)
        return np.divide(found, length[:, None], out=np.zeros_like(found), where=length[:, None] > 0)


def _unit_gradients(view: HeadView) -> _UnitView:
    return _UnitView(view.features, view.targets, view.weights)


def _group_gradients(view: HeadView, groups: Sequence[str]) -> Float[np.ndarray, "G C D"]:
    """Gradient of each group's mean loss on the head's parameters, groups sorted by name."""
    names = np.asarray(groups)
    if len(names) != len(view.targets):
        raise ConfigError(f"Every tested sample needs a group; got {len(names)} for {len(view.targets)} samples.")
    members = [names == name for name in sorted(set(names.tolist()))]
    residuals = view.residuals
    return np.stack([residuals[some].T @ view.features[some] / some.sum() for some in members])


def _hessian(view: HeadView, penalty: float) -> Float[np.ndarray, "P P"]:
    p, h = view.probabilities, view.features
    classes, width = view.weights.shape
    found = np.empty((classes, width, classes, width))
    for a in range(classes):
        for b in range(a, classes):
            weight = p[:, a] * ((a == b) - p[:, b])
            found[a, :, b, :] = found[b, :, a, :] = (h * weight[:, None]).T @ h / len(h)
    size = classes * width
    return found.reshape(size, size) + penalty * np.eye(size)


def _downhill(view: HeadView, step: np.ndarray, slope: float, penalty: float) -> HeadView:
    """The view after the largest of the steps 1, 1/2, 1/4 … that lowers the objective as a convex one should."""
    start = _objective(view, penalty)
    for halvings in range(30):
        size = 0.5**halvings
        tried = HeadView(view.features, view.targets, view.weights - size * step)
        if _objective(tried, penalty) <= start - 1e-4 * size * slope + 1e-14:
            return tried
    raise ConfigError("No step lowers the head's loss; are the features finite?")


def _objective(view: HeadView, penalty: float) -> float:
    return float(view.losses.mean() + penalty / 2 * (view.weights**2).sum())


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
