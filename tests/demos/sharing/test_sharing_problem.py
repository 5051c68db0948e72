"""Problems are honest: no digit twice, answers as described, and the same numbers whoever trains them."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch

from workbench.core import ConfigError
from workbench.demos.data.digits import mnist
from workbench.demos.sharing.catalogue import FAMILIES, REPORTED, TUNING
from workbench.demos.sharing.pictures import SOURCES, draw
from workbench.demos.sharing.problem import Sharing
from workbench.demos.sharing.tasks import TARGETS, TaskSpec

OWN = Sharing("own", "related", {"a": TaskSpec("digit", n=40), "b": TaskSpec("slant", n=70)}, steps=3)
COMMON = Sharing("common", "related", {"a": TaskSpec("digit", n=40), "b": TaskSpec("ink", n=40)}, common=True, steps=3)


def test_the_catalogue_has_two_halves_without_a_common_problem():
    names = Counter(problem.name for problem in TUNING + REPORTED)
    assert max(names.values()) == 1
    specs = [frozenset(Counter(problem.specs.values()).items()) for problem in TUNING + REPORTED]
    assert len({(spec, problem.common) for spec, problem in zip(specs, TUNING + REPORTED, strict=True)}) == len(specs)
    assert {problem.family for problem in REPORTED} == {problem.family for problem in TUNING} == set(FAMILIES)


def test_the_reported_half_has_enough_pairs_and_sets():
    sizes = [len(problem.tasks) for problem in REPORTED]
    assert sizes.count(2) >= 30
    assert sum(3 <= size <= 6 for size in sizes) >= 10
    assert all((len(problem.tasks) > 2) == (problem.family == "set") for problem in TUNING + REPORTED)


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_draws_small_pictures(source):
    pictures = draw(source, mnist().take(np.arange(0, 5000, 100)), np.random.default_rng(0))
    assert pictures.images.shape == (50, 196)
    assert pictures.images.min() >= 0
    assert pictures.images.max() <= 1
    assert all(len(values) == 50 for values in pictures.facts.values())


def test_a_moved_digit_is_where_its_facts_say():
    digits = mnist().take(np.arange(0, 5000, 50))
    pictures = draw("moved", digits, np.random.default_rng(0))
    images = pictures.images.reshape(-1, 14, 14)
    centre = (images.sum(axis=1) * np.arange(14)).sum(axis=1) / images.sum(axis=(1, 2))
    # Half a pixel of the small picture for every pixel of the full one; digits themselves are centred by mass.
    slope = np.polyfit(pictures.facts["right"], centre, 1)[0]
    assert slope == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("problem", [OWN, COMMON], ids=lambda problem: problem.name)
def test_no_picture_is_both_trained_on_and_judged_by(problem):
    parts = [part.numpy() for data in problem.data.values() for part in (data.images,)]
    judged = [part.numpy() for data in problem.data.values() for part in (data.test_images, data.held_out_images)]
    trained = {row.tobytes() for part in parts for row in part}
    assert not trained & {row.tobytes() for part in judged for row in part}
    if not problem.common:
        assert len(trained) == sum(len(part) for part in parts)


def test_noise_replaces_the_stated_share_of_training_answers_only():
    clean = Sharing("noise", "noise", {"a": TaskSpec("digit", n=2000), "b": TaskSpec("digit", n=100)})
    noisy = Sharing("noise", "noise", {"a": TaskSpec("digit", n=2000, noise=0.5), "b": TaskSpec("digit", n=100)})
    same = (clean.data["a"].answers == noisy.data["a"].answers).double().mean()
    # Half are drawn again, and a tenth of those come out as they were.
    assert float(same) == pytest.approx(0.55, abs=0.04)
    assert torch.equal(clean.data["a"].test_answers, noisy.data["a"].test_answers)


def test_regressions_are_standardised_and_their_opposites_opposite():
    data = Sharing("r", "related", {"a": TaskSpec("ink"), "b": TaskSpec("minus ink")}, common=True).data
    assert float(data["a"].answers.mean()) == pytest.approx(0, abs=1e-5)
    assert float(data["a"].answers.std(correction=0)) == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(data["a"].answers, -data["b"].answers)


def test_scores_are_one_for_the_truth_and_zero_for_the_mean():
    data = OWN.data
    right = torch.nn.functional.one_hot(data["a"].test_answers, 10).float()
    assert OWN.score("a", right) == 1
    truth = data["b"].test_answers[:, None]
    assert OWN.score("b", truth) == 1
    assert OWN.score("b", truth.mean().expand_as(truth)) == pytest.approx(0, abs=1e-6)


def test_a_common_head_is_shared_and_a_task_s_own_is_not():
    specs = {"a": TaskSpec("digit", head="h"), "b": TaskSpec("digit, all renamed", head="h"), "c": TaskSpec("parity")}
    problem = Sharing("h", "contradictory", specs)
    net = problem.build_model(0)
    assert list(problem.shared(net)) == ["layer 1", "layer 2", "head h"]
    assert set(net.heads) == {"h", "c"}


def test_a_scale_scales_the_loss():
    plain, scaled = (
        Sharing("s", "scale", {"a": TaskSpec("digit", n=40), "b": TaskSpec("ink", n=40, scale=f)}, common=True)
        for f in (1, 30)
    )
    batch = next(plain.batches(0))
    net = plain.build_model(0)
    torch.testing.assert_close(scaled.losses(net, batch)["b"], 30 * plain.losses(net, batch)["b"])
    torch.testing.assert_close(scaled.losses(net, batch)["a"], plain.losses(net, batch)["a"])


def test_a_task_s_batches_do_not_depend_on_the_other_tasks_and_cover_every_epoch():
    order = [at["b"] for at in islice(OWN.order(3), 2)]
    assert sorted(np.concatenate(order)) == sorted(set(np.concatenate(order)))
    assert [len(at["a"]) for at in islice(OWN.order(3), 4)] == [32] * 4
    again = next(OWN.order(3))
    np.testing.assert_array_equal(again["b"], order[0])


def test_mistakes_in_a_description_are_named():
    with pytest.raises(ConfigError, match="no target 'colour'"):
        TaskSpec("colour")
    with pytest.raises(ConfigError, match="source and n must be the same"):
        Sharing("x", "related", {"a": TaskSpec("digit", n=10), "b": TaskSpec("digit", n=20)}, common=True)
    with pytest.raises(ConfigError, match="9000 more digits"):
        _ = Sharing("x", "related", {"a": TaskSpec("digit", n=9000), "b": TaskSpec("digit")}).data
    assert set(TARGETS) >= {spec.target for problem in REPORTED for spec in problem.specs.values()}
