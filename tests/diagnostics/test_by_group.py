"""Groups of samples play the tasks: the conflict lens names which group is pulled against which."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from workbench.core import ConfigError, Run
from workbench.diagnostics.grouping import by_group
from workbench.diagnostics.recorder import Recorder
from workbench.lenses import look


def test_losses_are_parted_in_their_order_and_small_groups_left_out():
    losses = torch.arange(9.0)
    found = by_group(losses, ["b", "a", "b", "a", "c", "a", "b", "a", "b"])
    assert {name: values.tolist() for name, values in found.items()} == {"a": [1, 3, 5, 7], "b": [0, 2, 6, 8]}
    assert list(by_group(losses, np.arange(9) % 2, at_least=5)) == ["0"]
    assert list(by_group(losses, torch.arange(9) % 2)) == ["0", "1"]


@pytest.mark.parametrize("losses", [torch.tensor(1.0), torch.zeros(3, 2), torch.zeros(4)])
def test_losses_that_are_not_one_a_sample_are_refused(losses):
    with pytest.raises(ConfigError, match="one group for each"):
        by_group(losses, ["a", "b", "a"])


@pytest.mark.parametrize("opposed", [True, False])
def test_the_group_that_is_pulled_against_is_named(tmp_path, opposed):
    """In the rare group the cue means the opposite; else both groups want the same."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    with Recorder(tmp_path / "run") as rec:
        for step in range(10):
            x = torch.randn(240, 6)
            group = np.where(np.arange(240) % 4 == 0, "rare", "common")
            sign = torch.tensor(np.where((group == "rare") & opposed, -1.0, 1.0), dtype=torch.float32)
            losses = (model(x)[:, 0] - sign * (2 * x[:, 0] + x[:, 1])).square()
            rec.task_gradients(step, by_group(losses, group, at_least=8), shared=model, n_batches=8)
            optimizer.zero_grad()
            losses.mean().backward()
            optimizer.step()
    reading = look(Run(tmp_path / "run"), "conflict")
    assert reading.stats.tasks == ("common", "rare")
    assert bool(reading.stats.called[reading.stats.total, 0]) == opposed
    assert ("common and rare" in reading.verdict.sentence and reading.verdict.level == "problem") == opposed
