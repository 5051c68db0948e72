"""Class, confidence, loss and logits of classification tasks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from workbench.core import ConfigError
from workbench.diagnostics import predictions


def test_closed_form():
    # Softmax of (ln 3, ln 1) is (3/4, 1/4); the loss of class 1 is -ln 1/4 = ln 4.
    logits = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]])
    found = predictions.from_logits(logits, torch.tensor([1, -100]))
    assert found.prediction.tolist() == [0, 0]
    assert found.confidence.tolist() == pytest.approx([0.75, 0.5])
    assert found.loss[0] == pytest.approx(math.log(4))
    assert np.isnan(found.loss[1])
    np.testing.assert_array_equal(found.logits, logits.numpy())


def test_without_labels_there_is_no_loss():
    assert np.isnan(predictions.from_logits(torch.zeros(3, 2)).loss).all()


@pytest.mark.parametrize("target", [torch.tensor([0, 2]), torch.tensor([0]), torch.tensor([0.0, 1.0])])
def test_labels_that_do_not_fit_are_named(target):
    with pytest.raises(ConfigError, match=r"class indices of shape \(2,\) from 0 to 1"):
        predictions.from_logits(torch.zeros(2, 2), target)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.drop = nn.Linear(4, 3), nn.Linear(4, 2), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.drop(x)
        return {"left": self.left(x), "right": self.right(x), "picture": x[:, None, :]}


def test_all_classification_tasks_of_a_model():
    torch.manual_seed(0)
    net = Net()
    x, left = torch.randn(9, 4), torch.randint(3, (9,))
    found = predictions.collect(net, [(a, {"left": b}) for a, b in zip(x.split(4), left.split(4), strict=True)])
    assert set(found) == {"left", "right"}
    net.eval()
    expected = predictions.from_logits(net(x)["left"], left)
    np.testing.assert_array_equal(found["left"].prediction, expected.prediction)
    np.testing.assert_allclose(found["left"].loss, expected.loss, rtol=1e-5)
    assert np.isnan(found["right"].loss).all()


def test_a_model_of_one_task_and_its_modes():
    net = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 3))
    found = predictions.collect(net, torch.randn(300, 4), task="digit")
    assert found["digit"].logits.shape == (300, 3)
    assert net[0].training


def test_a_model_without_logits_is_named():
    with pytest.raises(ConfigError, match=r"shape \[B, C\]"):
        predictions.collect(nn.Flatten(0), torch.randn(3, 4))
