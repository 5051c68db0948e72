"""The UniSeg losses: closed forms, masks, invariances, the relation rule, and a slow plain twin."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from workbench.core import ConfigError
from workbench.methods.uniseg import (
    IGNORE,
    Config,
    CosineHead,
    UniSeg,
    annotated_labels,
    class_relational_bce,
    cross_entropy,
    masked_bce,
    mean_cosines,
    null_bce,
    pixel_targets,
    related_labels,
    restricted_prediction,
    row_cosines,
    target_matrix,
    union_of,
)

SETS = {"coarse": ("road", "rider"), "fine": ("road", "cyclist", "motorcyclist")}
seeds = st.integers(0, 2**31 - 1)


def batch(seed, n_labels=4, n_images=3, ignored=0.2, dtype=torch.float64):
    """Logits [B, K, 3, 4] and labels with some ignored pixels; image i belongs to dataset i mod 2."""
    draw = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n_images, n_labels, 3, 4, generator=draw, dtype=dtype)
    labels = torch.randint(n_labels, (n_images, 3, 4), generator=draw)
    labels[torch.rand(labels.shape, generator=draw) < ignored] = IGNORE
    return logits, labels, torch.arange(n_images) % 2


def random_targets(seed, n_datasets=2, n_labels=4):
    draw = torch.Generator().manual_seed(seed)
    annotated = torch.rand(n_datasets, n_labels, generator=draw) < 0.6
    related = torch.rand(n_datasets, n_labels, n_labels, generator=draw) < 0.2
    matrices = [target_matrix(a, r).double() for a, r in zip(annotated, related, strict=True)]
    return torch.stack(matrices), annotated, related


def test_null_bce_of_one_pixel_is_its_closed_form():
    # Labels road, rider, cyclist; the pixel is a rider of a dataset without "cyclist". At logit 0 each of the two
    # annotated labels costs ln 2, whatever the logit of the third.
    logits = torch.tensor([0.0, 0.0, 50.0]).view(1, 3, 1, 1)
    annotated = torch.tensor([[True, True, False]])
    loss = null_bce(logits, torch.tensor([[[1]]]), torch.tensor([0]), annotated)
    assert loss.tolist() == pytest.approx([2 * math.log(2)])


def test_one_relation_adds_exactly_one_positive_term():
    targets = target_matrix(torch.tensor([True, True, False]), torch.zeros(3, 3, dtype=torch.bool))[None]
    related = targets.clone()
    related[0, 1, 2] = 1.0
    logits, labels = torch.tensor([0.4, -1.0, -2.0]).view(1, 3, 1, 1), torch.tensor([[[1]]])
    extra = class_relational_bce(logits, labels, torch.tensor([0]), related) - class_relational_bce(
        logits, labels, torch.tensor([0]), targets
    )
    assert extra.item() == pytest.approx(math.log1p(math.exp(2.0)), rel=1e-6)


@given(seeds)
def test_losses_equal_a_plain_loop_over_pixels_and_classes(seed):
    logits, labels, dataset = batch(seed)
    targets, _, _ = random_targets(seed)
    total, n_pixels = 0.0, 0
    for b, row, column in torch.cartesian_prod(torch.arange(3), torch.arange(3), torch.arange(4)).tolist():
        c = labels[b, row, column].item()
        if c == IGNORE:
            continue
        n_pixels += 1
        for k in range(4):
            target = targets[dataset[b], c, k].item()
            if target >= 0:
                z = logits[b, k, row, column].item()
                total += math.log1p(math.exp(-z)) + (1 - target) * z
    loss = class_relational_bce(logits, labels, dataset, targets).mean()
    assert loss.item() == pytest.approx(total / max(n_pixels, 1))


@given(seeds)
def test_with_one_complete_dataset_the_null_loss_is_one_vs_all_bce_to_the_last_bit(seed):
    logits, labels, _ = batch(seed, ignored=0.0, dtype=torch.float32)
    one_hot = F.one_hot(labels, 4).movedim(-1, 1).float()
    plain = F.binary_cross_entropy_with_logits(logits, one_hot, reduction="none").sum(1).sum((1, 2)) * 3 / 36
    assert torch.equal(null_bce(logits, labels, torch.zeros(3, dtype=torch.int64), torch.ones(1, 4).bool()), plain)


@given(seeds)
def test_without_relations_the_second_stage_is_the_first_to_the_last_bit(seed):
    method = UniSeg(SETS)
    logits, labels, dataset = batch(seed, dtype=torch.float32)
    first = method.loss(logits, labels, dataset)
    method.relate(torch.eye(4).expand(2, -1, -1))
    assert not method.related.any()
    assert torch.equal(method.loss(logits, labels, dataset), first)
    assert torch.equal(null_bce(logits, labels, dataset, method.annotated), first)


@given(seeds)
def test_labels_that_a_dataset_lacks_get_no_gradient_from_it(seed):
    method = UniSeg(SETS)
    head = method.head(5)
    features = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(seed))
    logits = head(features)
    logits.retain_grad()
    labels = torch.tensor([method.union.index("rider")]).expand(2, 3, 4)
    method.loss(logits, labels, torch.zeros(2, dtype=torch.int64)).mean().backward()
    foreign = ~method.annotated[0]
    assert [name for name, absent in zip(method.union, foreign, strict=True) if absent] == ["cyclist", "motorcyclist"]
    assert (logits.grad[:, foreign] == 0).all()
    assert (head.weight.grad[foreign] == 0).all()
    assert (head.weight.grad[~foreign].abs().sum(1) > 0).all()


@given(seeds)
def test_ignored_pixels_change_nothing(seed):
    logits, labels, dataset = batch(seed)
    targets, annotated, _ = random_targets(seed)
    changed = torch.where((labels == IGNORE)[:, None], torch.full_like(logits, 7.0), logits)
    for loss in (
        cross_entropy,
        lambda z, y: null_bce(z, y, dataset, annotated),
        lambda z, y: class_relational_bce(z, y, dataset, targets),
    ):
        assert torch.equal(loss(logits, labels), loss(changed, labels))


def test_a_batch_without_labels_costs_nothing_and_has_zero_gradient():
    logits = torch.randn(2, 4, 3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels, dataset = torch.full((2, 3, 4), IGNORE), torch.tensor([0, 1])
    for loss in (cross_entropy(logits, labels), UniSeg(SETS).loss(logits, labels, dataset)):
        assert loss.tolist() == [0.0, 0.0]
        (gradient,) = torch.autograd.grad(loss.mean(), logits)
        assert (gradient == 0).all()


@given(seeds, st.permutations(range(4)))
def test_the_order_of_the_labels_does_not_matter(seed, order):
    logits, labels, dataset = batch(seed)
    targets, _, _ = random_targets(seed)
    order = torch.tensor(order)
    place = torch.argsort(order)  # old label k stands at place[k] now
    moved = torch.where(labels == IGNORE, IGNORE, place[labels.clamp_min(0)])
    shuffled = targets[:, order][:, :, order]
    torch.testing.assert_close(
        class_relational_bce(logits[:, order], moved, dataset, shuffled),
        class_relational_bce(logits, labels, dataset, targets),
    )


@given(seeds, st.floats(0.01, 100), st.floats(0.01, 100))
def test_lengths_of_features_and_classifier_rows_do_not_matter(seed, feature_scale, row_scale):
    head = CosineHead(5, 3).double()
    features = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    before = head(features).detach()
    with torch.no_grad():
        head.weight[1] *= row_scale
    torch.testing.assert_close(head(feature_scale * features).detach(), before)
    assert before.abs().max() <= 20 + 1e-9


@given(seeds)
def test_repeating_every_pixel_leaves_the_loss(seed):
    logits, labels, dataset = batch(seed)
    targets, _, _ = random_targets(seed)
    twice = class_relational_bce(
        logits.repeat_interleave(2, -1), labels.repeat_interleave(2, -1), dataset, targets
    ).mean()
    assert twice.item() == pytest.approx(class_relational_bce(logits, labels, dataset, targets).mean().item())


def test_an_image_weighs_as_many_pixels_as_it_has():
    # Three labelled pixels in all, two of them in the first image: (2 a + b) / 3 for its mean a and the other's b.
    logits = torch.zeros(2, 2, 1, 2)
    logits[0] += 1.0
    labels = torch.tensor([[[0, 0]], [[0, IGNORE]]])
    both = cross_entropy(logits, labels)
    a, b = (cross_entropy(logits[i : i + 1], labels[i : i + 1]).item() for i in (0, 1))
    assert both.mean().item() == pytest.approx((2 * a + b) / 3)


@given(seeds, st.floats(-1, 1), st.floats(-1, 1))
def test_relations_shrink_as_the_threshold_rises(seed, one, two):
    cosines = 2 * torch.rand(6, 6, generator=torch.Generator().manual_seed(seed)) - 1
    low, high = sorted((one, two))
    assert (related_labels(cosines, high) <= related_labels(cosines, low)).all()
    assert not related_labels(cosines, 1.0).any()
    assert torch.equal(related_labels(cosines, -1.0), cosines > cosines.diagonal()[:, None])


def test_relation_rule_on_a_table_worked_by_hand():
    table = torch.tensor([[0.2, 0.3], [0.1, 0.4]])
    assert related_labels(table).nonzero().tolist() == [[0, 1]]
    below = torch.tensor([[-0.5, -0.2], [-0.1, 0.4]])  # more than its own score, yet below the threshold
    assert not related_labels(below).any()


def test_a_label_without_pixels_has_no_relations():
    table = torch.tensor([[torch.nan, torch.nan], [0.9, 0.4]])
    assert related_labels(table).nonzero().tolist() == [[1, 0]]


@given(seeds)
def test_every_cell_of_the_target_matrix_has_one_meaning(seed):
    targets, annotated, related = random_targets(seed)
    own = torch.eye(4, dtype=torch.bool)
    for t, a, r in zip(targets, annotated, related, strict=True):
        assert torch.equal(t == 1, own | r)
        assert torch.equal(t == 0, a & ~own & ~r)
        assert torch.equal(t == -1, ~a & ~own & ~r)
        assert (t.diagonal() == 1).all()


def test_pixel_targets_take_the_row_of_each_images_dataset():
    targets = torch.tensor([[[1.0, -1.0], [-1.0, 1.0]], [[1.0, 0.0], [1.0, 1.0]]])
    labels = torch.tensor([[[0, 1]], [[1, IGNORE]]])
    found = pixel_targets(labels, torch.tensor([0, 1]), targets)
    assert found[0, :, 0].T.tolist() == [[1.0, -1.0], [-1.0, 1.0]]
    assert found[1, :, 0].T.tolist() == [[1.0, 1.0], [-1.0, -1.0]]


def test_cross_entropy_pulls_private_labels_apart_and_the_null_loss_does_not():
    # One feature that dataset 0 calls rider and dataset 1 calls cyclist. CE: p - 1 < 0 on the own label, p > 0 on the
    # foreign one, so the datasets' gradients on both logits have opposite signs.
    method = UniSeg({"coarse": ("rider",), "fine": ("cyclist",)})
    gradients = {"ce": [], "null": []}
    for i, name in enumerate(("rider", "cyclist")):
        label, dataset = torch.tensor([[[method.union.index(name)]]]), torch.tensor([i])
        for key, loss in (("ce", cross_entropy), ("null", lambda z, y, d=dataset: method.loss(z, y, d))):
            logits = torch.tensor([0.3, -0.2]).view(1, 2, 1, 1).requires_grad_()
            gradients[key].append(torch.autograd.grad(loss(logits, label).sum(), logits)[0].flatten())
    assert (gradients["ce"][0] * gradients["ce"][1] < 0).all()
    assert (gradients["null"][0] * gradients["null"][1] == 0).all()


def test_row_cosines_of_opposite_equal_and_absent_gradients():
    a = torch.tensor([[1.0, 2.0], [1.0, 0.0], [3.0, 4.0]])
    b = torch.tensor([[-2.0, -4.0], [0.5, 0.0], [0.0, 0.0]])
    assert row_cosines(a, b).tolist() == pytest.approx([-1.0, 1.0, 0.0])


@given(seeds, st.floats(-50, 50))
def test_restricted_predictions_do_not_see_a_common_constant(seed, constant):
    logits, _, _ = batch(seed)
    plain = restricted_prediction(logits, [2, 0])
    assert torch.equal(restricted_prediction(logits + constant, [2, 0]), plain)
    assert torch.equal(plain == 0, logits[:, 2] >= logits[:, 0])


def test_mean_cosines_over_batches_equal_those_over_all_pixels_at_once():
    logits, labels, _ = batch(3, n_images=6)
    labels[labels == 3] = IGNORE
    pieces = mean_cosines(zip(logits.split(2), labels.split(2), strict=True), 4)
    torch.testing.assert_close(pieces, mean_cosines([(logits, labels)], 4), equal_nan=True)
    torch.testing.assert_close(pieces[2], logits.movedim(1, -1)[labels == 2].mean(dim=0))
    assert pieces[3].isnan().all()


def test_union_keeps_the_order_of_first_use_and_knows_who_annotates_what():
    union = union_of(SETS.values())
    assert union == ("road", "rider", "cyclist", "motorcyclist")
    assert annotated_labels(list(SETS.values()), union).tolist() == [
        [True, True, False, False],
        [True, False, True, True],
    ]


def test_relations_found_reach_the_loss_and_prediction_uses_the_datasets_own_labels():
    method = UniSeg(SETS, Config(threshold=0.0))
    statistics = torch.eye(4).repeat(2, 1, 1) * 0.5
    rider, cyclist = method.union.index("rider"), method.union.index("cyclist")
    statistics[1, cyclist, rider] = 0.6
    assert method.relate(statistics).nonzero().tolist() == [[1, cyclist, rider]]
    assert method.targets[1, cyclist].tolist() == [0.0, 1.0, 1.0, 0.0]
    logits = torch.tensor([0.0, 9.0, 1.0, 2.0]).view(1, 4, 1, 1)
    assert method.predict(logits, "coarse").item() == SETS["coarse"].index("rider")
    assert method.predict(logits, "fine").item() == SETS["fine"].index("motorcyclist")


def test_masked_bce_survives_extreme_logits():
    logits = torch.tensor([1e4, -1e4, 1e4]).view(1, 3, 1, 1)
    targets = torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1)
    assert masked_bce(logits, targets).item() == 0.0


@pytest.mark.parametrize(
    ("wrong", "words"), [({"scale": 0.0}, "scale must be positive"), ({"threshold": 2.0}, "-1, 1")]
)
def test_config_refuses_values_that_cannot_be(wrong, words):
    with pytest.raises(ConfigError, match=words):
        Config(**wrong)


def test_repeated_labels_are_refused_by_name():
    with pytest.raises(ConfigError, match="dataset 'city'"):
        UniSeg({"city": ("road", "road")})
