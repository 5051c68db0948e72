"""How exact single precision is, and what makes it inexact."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from workbench.diagnostics import gsnr
from workbench.diagnostics.benchmark.nets import group_norm, resnet18


def variances(net: nn.Module, x: Tensor, y: Tensor) -> dict[str, np.ndarray]:
    moments = gsnr.measure(net, lambda x, y: cross_entropy(net(x), y, reduction="none"), [(x, y)])
    return {name: moments.variance(name) for name in moments.parameters}


def worst(found: dict[str, np.ndarray], exact: dict[str, np.ndarray]) -> float:
    """Largest error of an entry over the largest entry of its tensor."""
    return max(float(np.abs(found[name] - exact[name]).max() / exact[name].max()) for name in exact)


def both_precisions(size: int, seed: int) -> float:
    torch.manual_seed(seed)
    net, x, y = resnet18(8, group_norm), torch.randn(8, 3, size, size), torch.randint(10, (8,))
    return worst(variances(net, x, y), variances(copy.deepcopy(net).double(), x.double(), y))


class _FixedReLU(torch.autograd.Function):
    """ReLU that is told which units are active."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, active: Tensor) -> Tensor:
        ctx.save_for_backward(active)
        return x * active

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.saved_tensors[0], None


@pytest.fixture
def relu_of_double_precision(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Choose between recording which units are active and imposing what was recorded, in the order of the calls."""
    patterns: list[Tensor] = []
    imposed: list[Tensor] = []

    def record(x: Tensor, inplace: bool = False) -> Tensor:
        patterns.append(x.detach() > 0)
        return x.clamp(min=0)

    def impose(x: Tensor, inplace: bool = False) -> Tensor:
        active = imposed.pop(0)
        imposed.append(active)
        return _FixedReLU.apply(x, active[: len(x)].to(x.dtype))

    def choose(recording: bool) -> None:
        imposed[:] = patterns
        monkeypatch.setattr(nn.functional, "relu", record if recording else impose)

    return choose


@pytest.mark.parametrize("seed", range(3))
def test_with_the_same_active_units_single_precision_is_exact_to_six_digits(
    relu_of_double_precision: Callable[[bool], None], seed: int
) -> None:
    torch.manual_seed(seed)
    net, x, y = resnet18(8, group_norm), torch.randn(8, 3, 16, 16), torch.randint(10, (8,))
    exact = copy.deepcopy(net).double()
    relu_of_double_precision(True)
    with torch.no_grad():
        exact(x.double())
    relu_of_double_precision(False)
    assert worst(variances(net, x, y), variances(exact, x.double(), y)) < 2e-5


@pytest.mark.parametrize(("edge", "variance"), [(1e-9, 0.0), (-1e-9, 1 / 8)])
def test_one_unit_on_the_edge_of_a_relu_changes_the_variance(edge: float, variance: float) -> None:
    """The bias's gradient is 1 for active samples, else 0. The eighth input hardly changes, its gradient does."""
    layer = nn.Linear(1, 1).double()
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)
    x = torch.tensor([1.0] * 7 + [edge], dtype=torch.float64)[:, None]
    moments = gsnr.measure(layer, lambda x: layer(x).relu()[:, 0], [(x,)])
    assert moments.variance("bias")[0] == pytest.approx(variance)


@pytest.mark.slow
def test_errors_of_single_precision_are_rare_and_come_in_two_sizes() -> None:
    """Rounding gives 1e-6; a unit that rounding switches gives 1e-3 or more. Nothing lies in between."""
    errors = [both_precisions(size, seed) for size in (8, 16) for seed in range(30)]
    assert np.median(errors) < 1e-5
    assert not any(2e-5 < error < 1e-4 for error in errors)
    assert sum(error > 1e-4 for error in errors) < 12
