"""The baselines beside GSNR dropout: plain dropout and RSC on features, in closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from workbench.demos.recipes.gsnr_dropout.baselines import dropout, kept_features, rsc


def test_dropout_keeps_the_mean_and_the_share():
    features = torch.ones(400, 50)
    found = dropout(0.25, seed=1)(features, torch.zeros(400, dtype=torch.int64))
    assert found.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert (found == 0).double().mean().item() == pytest.approx(0.25, abs=0.02)
    assert found.mean().item() == pytest.approx(1, abs=0.03)


def test_dropout_of_nothing_changes_no_bit_and_draws_are_its_own():
    features = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    state = torch.random.get_rng_state()
    assert torch.equal(dropout(0.0, seed=1)(features, torch.zeros(6, dtype=torch.int64)), features)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.fixture
def head():
    """Two classes: the first reads features 0 and 1, the second 2 and 3."""
    made = nn.Linear(4, 2, bias=False)
    with torch.no_grad():
        made.weight.copy_(torch.tensor([[2.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 3.0]]))
    return made


def test_rsc_masks_the_features_that_the_right_answer_needs_most(head):
    # A linear head: the gradient of the right logit is its row of weights.
    labels = torch.tensor([0, 1])
    kept = kept_features(torch.ones(2, 4), head, labels, share=0.25)
    assert kept.tolist() == [[False, True, True, True], [True, True, True, False]]


def test_rsc_challenges_the_samples_that_lose_most(head):
    # Without its best feature the second sample's right logit falls by 3, the first one's by 0 (that feature is 0).
    features = torch.tensor([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
    found = rsc(head, features_share=0.25, batch_share=0.5)(features, torch.tensor([0, 1]))
    assert found.tolist() == [[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]


def test_rsc_lets_gradients_through_what_it_keeps(head):
    features = torch.ones(2, 4, requires_grad=True)
    found = rsc(head, features_share=0.25, batch_share=1.0)(features, torch.tensor([0, 1]))
    found.sum().backward()
    assert features.grad.tolist() == found.tolist()
    assert head.weight.grad is None


def test_rsc_without_features_or_samples_is_plain(head):
    features, labels = torch.ones(2, 4), torch.tensor([0, 1])
    assert torch.equal(rsc(head, 0.0, 1.0)(features, labels), features)
    assert torch.equal(rsc(head, 0.5, 0.0)(features, labels), features)
