"""The slow plain twin of gramian.measure, and what its tests draw."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from workbench.diagnostics import gramian
from workbench.diagnostics.rows.engine import plan
from workbench.diagnostics.rows.parts import parameters, resolve
from workbench.diagnostics.rows.slices import cut

TASKS = ("square", "wave", "first")


def losses_of(features: Tensor, n_tasks: int = 3) -> dict[str, Tensor]:
    flat = features.flatten(1)
    values = ((flat**2).mean(1), torch.sin(3 * flat).mean(1), flat[:, 0] * flat[:, -1])
    return dict(zip(TASKS[:n_tasks], values, strict=False))


def cross_gramian(losses: dict[str, Tensor], parameters: list[Tensor], n_batches: int) -> np.ndarray:
    """[T, K, T, K] from T·K ordinary backward passes of the mean of every K-th sample's loss."""
    rows = []
    for loss in losses.values():
        for k in range(n_batches):
            grads = torch.autograd.grad(loss[k::n_batches].mean(), parameters, retain_graph=True, allow_unused=True)
            flat = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, grads, strict=True)]
            rows.append(torch.cat([g.flatten().double() for g in flat]))
    matrix = torch.stack(rows)
    return (matrix @ matrix.T).reshape(len(losses), n_batches, len(losses), n_batches).cpu().numpy()


def error(losses: dict[str, Tensor], net: nn.Module, n_batches: int) -> float:
    """Largest error of a product over all modules, relative to the lengths of the two gradients."""
    found = gramian.measure(losses, net, n_batches=n_batches)
    worst = 0.0
    for m, part in enumerate(resolve(net)):
        own = [piece.parameter for piece in part.pieces]
        expected = cross_gramian(losses, own, n_batches)
        length = np.sqrt(np.einsum("ikik->ik", expected))
        scale = np.where(length > 1e-12, length, 1.0)
        worst = max(worst, (np.abs(found.dot[m] - expected) / (scale[:, :, None, None] * scale)).max())
    return worst


def plain_reasons(losses: dict[str, Tensor], net: nn.Module, n_batches: int) -> set[str]:
    found = plan(cut(losses, n_batches), parameters(resolve(net)))
    return {each for each in found.uses if isinstance(each, str)}


def assert_exact(net: nn.Module, features: Tensor, n_batches: int, reasons: set[str] = frozenset()) -> None:
    losses = losses_of(features)
    assert error(losses, net, n_batches) <= 1e-10
    assert plain_reasons(losses, net, n_batches) == reasons


batches = st.integers(1, 4)
sizes = st.integers(5, 11)
seeds = st.integers(0, 999)


def draw_input(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
