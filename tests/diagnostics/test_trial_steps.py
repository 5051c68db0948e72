"""Trial steps: the true change of every loss, undone to the last bit, and what gradients foretell of it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from workbench.core import ConfigError, Run
from workbench.diagnostics import trial_steps
from workbench.diagnostics.recorder import Recorder


class Point(nn.Module):
    """Two quadratic losses of one parameter vector: |theta - (1, 0)|² / 2 and |theta - (0, 2)|² / 2 at theta = 0."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(2, dtype=torch.float64))

    def losses(self, goals: Tensor) -> dict[str, Tensor]:
        return {f"t{i + 1}": 0.5 * (self.theta - goal).square().sum() for i, goal in enumerate(goals)}


GOALS = torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=torch.float64)


def test_harm_by_curvature_alone():
    # G_12 = 0, yet a step of 0.1 on task 1 raises task 2's loss of 2 by 0.1² / 2 = 0.005: Z = -0.0025.
    net = Point()
    found = trial_steps.measure(net, net.losses, [(GOALS,)], lr=0.1)
    assert found.along == ("t1", "t2", "")
    assert found.slope[0, 0, 1, 0] == 0
    assert 1 - found.after[0, 0, 1, 0] / found.before[1, 0] == pytest.approx(-0.0025)


def test_curvature_of_a_quadratic_is_exact():
    # The sum has Hessian 2 I and gradient -(1, 2): d^T H d = 10.
    net = Point()
    found = trial_steps.measure(net, net.losses, [(GOALS,)], lr=0.3)
    slope, after = found.slope[-1, 0, :, 0].sum(), found.slope_after[0].sum()
    assert (slope - after) / found.lr == pytest.approx(10.0)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 24), nn.Tanh(), nn.Linear(24, 16), nn.Tanh())


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 6, 3, padding=1), nn.GroupNorm(2, 6), nn.SiLU(), nn.Flatten(),
        nn.Linear(96, 16),
    )  # fmt: skip


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 12, dropout=0.0, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.unflatten(1, (4, 4))).flatten(1)


class Shared(nn.Module):
    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        self.heads = nn.ModuleList([nn.Linear(16, 3), nn.Linear(16, 2)])

    def losses(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        z = self.trunk(x)
        return {
            f"t{i}": cross_entropy(head(z), y % head.out_features, reduction="none")
            for i, head in enumerate(self.heads)
        }


def problem(trunk, seed: int = 0) -> tuple[Shared, list[tuple[Tensor, Tensor]]]:
    torch.manual_seed(seed)
    net = Shared(trunk()).double()
    return net, [(torch.randn(32, 16, dtype=torch.float64), torch.randint(6, (32,))) for _ in range(3)]


@pytest.mark.parametrize("trunk", [mlp, convolutional, Attention])
def test_replayed_change_meets_the_true_one_step_change(trunk):
    # -eta G w, with G from the same gradients, against the true change of a step along J^T w, on three nets: the
    # relative error is about 1 % at 0.01 and falls in proportion to the step.
    net, batches = problem(trunk)
    errors = []
    for lr in (0.01, 0.005):
        found = trial_steps.measure(net, net.losses, batches, lr=lr, moved=list(net.trunk.parameters()))
        true = found.after - found.before[None, None]
        errors.append(np.abs(-lr * found.slope - true).sum() / np.abs(true).sum())
    assert errors[0] < 0.05
    assert errors[1] < 0.6 * errors[0]


@pytest.mark.parametrize("trunk", [mlp, convolutional, Attention])
def test_slopes_are_the_products_of_the_gramian(trunk):
    from workbench.diagnostics import gramian

    net, batches = problem(trunk)
    found = trial_steps.measure(net, net.losses, batches[:2], lr=0.1, moved=list(net.trunk.parameters()))
    # Slices deal samples in turn, so interleave the two batches to get them back as its mini-batches.
    x, y = (torch.stack(parts, dim=1).flatten(0, 1) for parts in zip(*batches[:2], strict=True))
    dot = gramian.measure(net.losses(x, y), net.trunk, n_batches=2).dot.sum(axis=0)
    np.testing.assert_allclose(found.slope[:2], dot, rtol=1e-9)
    np.testing.assert_allclose(found.slope[2], dot.sum(axis=0), rtol=1e-9)


def test_a_direction_steps_along_its_own_task_and_held_out_data_are_one_set():
    net, batches = problem(mlp)
    found = trial_steps.measure(net, net.losses, batches[:1], lr=0.1, held_out=batches[1:])
    twin = copy.deepcopy(net)
    gradients = torch.autograd.grad(twin.losses(*batches[0])["t1"].mean(), list(twin.parameters()), allow_unused=True)
    with torch.no_grad():
        for parameter, gradient in zip(twin.parameters(), gradients, strict=True):
            if gradient is not None:
                parameter -= 0.1 * gradient
        both = tuple(torch.cat(parts) for parts in zip(*batches[1:], strict=True))
        expected = {task: float(loss.mean()) for task, loss in twin.losses(*both).items()}
    assert found.batches == (0, trial_steps.HELD_OUT)
    assert found.samples.tolist() == [32, 64]
    np.testing.assert_allclose(found.after[1, 0, :, 1], [expected["t0"], expected["t1"]], rtol=1e-12)


def with_state() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 16), nn.BatchNorm1d(16), nn.Dropout(0.5))


@pytest.mark.parametrize("training", [False, True])
def test_nothing_is_left_changed(training):
    net, batches = problem(with_state)
    before, state = copy.deepcopy(net.state_dict()), torch.random.get_rng_state()
    addresses = [p.data_ptr() for p in net.parameters()]
    trial_steps.measure(net, net.losses, batches, lr=0.5, training=training)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), net.state_dict().values(), strict=True))
    assert addresses == [p.data_ptr() for p in net.parameters()]
    assert net.training
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_graph_in_hand_stays_good():
    net, batches = problem(with_state)
    waiting = net.losses(*batches[0])["t0"].mean()
    expected = torch.autograd.grad(waiting, net.trunk[0].weight, retain_graph=True)[0]
    trial_steps.measure(net, net.losses, batches, lr=0.5)
    waiting.backward()
    assert torch.equal(net.trunk[0].weight.grad, expected)


def test_recorded_and_read_back(tmp_path):
    net, batches = problem(mlp)
    with Recorder(tmp_path / "run", tasks=["t0", "t1"], model=net) as rec:
        shared = rec.trial_steps(3, net, net.losses, batches, lr=0.1, shared=net.trunk)
        alone = rec.trial_steps(3, net, lambda x, y: net.losses(x, y)["t0"], batches, lr=0.1, each_task=False)
    table = Run(tmp_path / "run").table("trial_steps")
    assert len(table) == shared.after.size + alone.after.size
    assert set(table["moved"]) == {"shared", "all"}
    row = table[(table["moved"] == "shared") & (table["along"] == "t1") & (table["task"] == "t0")].iloc[1]
    assert (row["batch_along"], row["batch"]) == (0, 1)
    assert row["after"] == pytest.approx(shared.after[1, 0, 0, 1])
    assert np.isfinite(table["slope_after"]).sum() == 3 * 2 + 3
    assert set(table.loc[table["moved"] == "all", "task"]) == {"loss"}


def test_wrong_arguments_are_refused():
    net, batches = problem(mlp)
    with pytest.raises(ConfigError, match="positive lr"):
        trial_steps.measure(net, net.losses, batches, lr=0.0)
    with pytest.raises(ConfigError, match="at least one batch"):
        trial_steps.measure(net, net.losses, [], lr=0.1)
    with pytest.raises(ConfigError, match="has no gradient"):
        trial_steps.measure(net, lambda x, y: torch.ones(4), batches, lr=0.1)
