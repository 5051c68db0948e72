"""Embeddings at named layers: pooling, batches, and what is said when they cannot be had."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from workbench.core import ConfigError
from workbench.diagnostics import embeddings


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)
        self.signal = nn.Conv1d(3, 4, 1)
        self.tokens = nn.Linear(3, 5)
        self.cell = nn.GRU(5, 6, batch_first=True)
        self.drop = nn.Dropout(0.5)
        self.unused = nn.Linear(2, 2)
        self.out = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.conv(x).flatten(2)  # [B, 3, positions]
        self.signal(maps)
        sequence, _ = self.cell(self.tokens(maps.transpose(1, 2)))
        return self.out(self.drop(sequence[:, -1]))


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net()


INPUTS = torch.randn(7, 1, 5, 5, generator=torch.Generator().manual_seed(1))


def test_positions_and_tokens_are_averaged(net):
    found = embeddings.collect(net, INPUTS, ["conv", "signal", "tokens", "cell", "out"])
    with torch.no_grad():
        maps = net.conv(INPUTS)
        tokens = net.tokens(maps.flatten(2).transpose(1, 2))
        np.testing.assert_allclose(found["conv"], maps.mean((2, 3)), rtol=1e-5)
        np.testing.assert_allclose(found["signal"], net.signal(maps.flatten(2)).mean(2), rtol=1e-5)
        np.testing.assert_allclose(found["tokens"], tokens.mean(1), rtol=1e-5)
        np.testing.assert_allclose(found["cell"], net.cell(tokens)[0].mean(1), rtol=1e-5)
    assert found["out"].shape == (7, 2)
    assert found["out"].dtype == np.float32


def test_batches_of_any_form_give_the_same(net):
    whole = embeddings.collect(net, INPUTS, ["out"])["out"]
    for batches in (
        INPUTS.split(2),
        [(x, torch.zeros(len(x))) for x in INPUTS.split(3)],
        [{"x": x} for x in INPUTS.split(4)],
    ):
        np.testing.assert_allclose(embeddings.collect(net, batches, ["out"])["out"], whole, rtol=1e-5, atol=1e-6)


def test_an_own_pooling_and_an_own_forward(net):
    found = embeddings.collect(
        net, [INPUTS], {"conv": lambda maps: maps.amax((2, 3))}, forward=lambda model, batch: model.conv(batch)
    )
    np.testing.assert_allclose(found["conv"], net.conv(INPUTS).amax((2, 3)).detach(), rtol=1e-6)


def test_the_model_is_left_as_it_was(net):
    state = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError):
        embeddings.collect(net, INPUTS, {"conv": lambda maps: 1 / 0})
    assert net.training
    assert net.drop.training
    assert not net.conv._forward_hooks
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("layers", "inputs", "message"),
    [
        (["nose"], INPUTS, "no layer 'nose'. Layers: conv"),
        (["unused"], INPUTS, "took no part"),
        (["conv"], [], "batches is empty"),
    ],
)
def test_mistakes_are_named(net, layers, inputs, message):
    with pytest.raises(ConfigError, match=message):
        embeddings.collect(net, inputs, layers)


def test_a_layer_without_rows_is_named():
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Text()

        def forward(self, x: Tensor) -> Tensor:
            self.inner(x)
            return x

    class Text(nn.Module):
        def forward(self, x: Tensor) -> str:
            return "no tensor"

    with pytest.raises(ConfigError, match="returns a str"):
        embeddings.collect(Odd(), INPUTS, ["inner"])
