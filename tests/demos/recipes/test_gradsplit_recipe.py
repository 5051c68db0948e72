"""The recipe of GradSplit: its data, nets and baselines, and a few steps of every variant."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workbench.core import Run
from workbench.demos import find_recipe, train
from workbench.demos.data import mnist
from workbench.demos.data.pairs import draw_pairs
from workbench.demos.nets import Net, NetSpec
from workbench.demos.recipe import Job
from workbench.demos.recipes.gradsplit import problem, training, trials, watch
from workbench.demos.recipes.gradsplit.baselines import conflicts, most_conflicting, pcgrad, pcgrad_rule
from workbench.demos.recipes.gradsplit.nets import LAYERS, Branched
from workbench.demos.recipes.gradsplit.problem import (
    OVERLAP_EDGES,
    SIZE,
    TASKS,
    halved,
    losses_of,
    problem_of,
    scores_of,
    targets_of,
)
from workbench.demos.recipes.gradsplit.records import N_SHOWN, groups_of, use_of

RECIPE = find_recipe("gradsplit")
SHORT = replace(RECIPE, variants=tuple(replace(variant, steps=3) for variant in RECIPE.variants))
SPEC = NetSpec({"a": 3, "b": 2}, size=SIZE, width=4, features=6, norm_groups=2)
seeds = st.integers(0, 2**31 - 1)


def net_of(own=(), seed=0):
    torch.manual_seed(seed)
    net = Branched(SPEC)
    net.branch(own)
    return net


def run_of(path, variant, **how):
    return Run(train(SHORT, path, only=[variant], **({"seed": 3, "lean": True} | how))[0])


# -- the runs ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def small():
    """Fewer pictures to test on and to watch: the runs are not judged here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(problem, "N_TEST", N_SHOWN)
        patch.setattr(watch, "SAMPLES", 16)
        patch.setattr(trials, "N_JUDGED", 32)
        patch.setattr(training, "N_PROBE", 16)
        patch.setattr(training, "N_RECORDED", 16)
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    paths = train(SHORT, tmp_path_factory.mktemp("runs"), seed=3, lean=True)
    return {path.name: Run(path) for path in paths}


def test_every_variant_gives_the_results_that_its_claims_compare(runs):
    for claim in RECIPE.claims:
        for variant in claim.variants:
            assert claim.result in runs[variant].info.summary
    for run in runs.values():
        assert (run.info.status, run.info.notes) == ("done", ())
        tags = set(run.table("scalars")["tag"])
        assert {"result/score", "result/score on UCI", "result/flops", "result/parameters"} <= tags
        assert not run.has("task_gradients")


def test_a_split_costs_nothing_to_run_and_other_ways_do(runs):
    cost = {name: (run.info.summary["flops"], run.info.summary["parameters"]) for name, run in runs.items()}
    assert cost["gradsplit"] == cost["own-groups"] == cost["pcgrad"] == cost["shared"] == cost["gradsplit-trials"]
    assert cost["narrow-gradsplit"] == cost["narrow-shared"] < cost["shared"] < cost["wide-shared"]
    assert cost["wide-gradsplit"] == cost["wide-shared"]
    assert cost["recon"][0] > cost["shared"][0]
    assert cost["single-nets"][0] == pytest.approx(4 * cost["shared"][0], rel=0.01)


def test_own_groups_leave_no_conflict_and_a_relation_leaves_no_more_than_sharing(runs):
    conflict = {name: run.info.summary["conflict"] for name, run in runs.items() if "conflict" in run.info.summary}
    assert conflict["own-groups"] == conflict["own-groups-loud"] == 0
    assert conflict["shared"] > 0
    assert set(conflict) == set(runs) - {"recon", "single-nets"}


def test_runs_say_by_which_relation_or_layers_they_trained(runs):
    config = {name: run.info.config for name, run in runs.items()}
    assert np.array_equal(config["own-groups"]["relation"], np.eye(4))
    assert np.array_equal(config["shared"]["relation"], np.ones((4, 4)))
    assert np.diag(config["five-gradsplit"]["relation"]).tolist() == [True] * 5
    assert config["single-nets"]["own_layers"] == list(LAYERS)
    assert len(config["recon"]["own_layers"]) == 1
    assert runs["gradsplit"].info.method == "gradsplit"


def test_trials_admit_whom_they_found_and_leave_the_training_as_it_was(runs, tmp_path, monkeypatch):
    relation = np.array(runs["gradsplit-trials"].info.config["relation"])
    assert relation.shape == (4, 4)
    assert relation.diagonal().all()
    monkeypatch.setattr(training, "tried_relation", lambda *_: torch.ones(4, 4, dtype=torch.bool))
    assert run_of(tmp_path, "gradsplit-trials").info.summary == runs["shared"].info.summary


def test_a_trial_trains_on_other_digits_than_it_judges_by(monkeypatch):
    found = problem_of(4, np.random.default_rng(0))
    drawn = []
    monkeypatch.setattr(trials, "draw_pairs", lambda digits, n, rng: drawn.append(digits) or draw_pairs(digits, 8, rng))
    own = torch.eye(4, dtype=torch.bool)
    monkeypatch.setattr(trials, "relation_by_trials", lambda score, n: own & (score(own) >= 0))
    job = Job(SHORT, SHORT.variant("gradsplit-trials"), Path(), 3)
    relation = trials.tried_relation(job, Branched(training.spec_of(found)), found, training.TRAINING, training.SPLIT)
    assert torch.equal(relation, own)
    judged, trained = drawn[:4], drawn[4:8]
    for task, rest, aside in zip(found.training, trained, judged, strict=True):
        assert len(rest) + len(aside) == len(found.training[task])
        pictures = {image.tobytes() for image in rest.images}
        assert not pictures & {image.tobytes() for image in aside.images}


def test_the_same_seed_gives_the_same_run_and_recording_changes_nothing(runs, tmp_path):
    again, full, other = (
        run_of(tmp_path / name, "gradsplit", **how).info.summary
        for name, how in (("again", {}), ("full", {"lean": False}), ("other", {"seed": 4}))
    )
    lean = runs["gradsplit"].info.summary
    assert again == lean
    assert {name: full[name] for name in lean} == lean
    assert other != lean


def test_a_relation_of_ones_is_plain_sharing_to_the_last_bit(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "relation_of", lambda evidence: torch.ones(4, 4, dtype=torch.bool))
    neutral = run_of(tmp_path, "gradsplit")
    assert neutral.info.summary == runs["shared"].info.summary
    tag = "SELECT value FROM scalars WHERE starts_with(tag, 'loss/')"
    assert neutral.query(tag).equals(runs["shared"].query(tag))


def test_a_full_run_records_what_the_lenses_need(tmp_path):
    run = run_of(tmp_path, "gradsplit", lean=False)
    tables = {"scalars", "samples", "predictions", "task_gradients", "trial_steps", "embeddings"}
    assert tables <= set(run.tables)
    assert run.info.notes == ()
    assert run.array("influence", 0)["z"].shape == (10, 4, 4)
    assert run.array("group_use", 3)["share"].sum(axis=1) == pytest.approx(np.ones(4))
    assert "trunk.conv3[0:4]" in {module.name for module in run.info.modules}
    assert run.query("SELECT count(*) AS n FROM predictions ANTI JOIN samples USING (sample)")["n"].item() == 0
    assert list(run.checkpoints()) == [3]


# -- the data ---------------------------------------------------------------------------------------------------------


def test_no_two_tasks_train_on_the_same_digits():
    given = problem_of(5, np.random.default_rng(0)).training
    shapes = {task: {image.tobytes() for image in digits.images} for task, digits in given.items()}
    assert [len(digits) for digits in given.values()] == [800] * 5
    assert len(set.union(*shapes.values())) == sum(map(len, shapes.values()))


def test_small_pictures_are_means_of_the_large_ones():
    images = np.random.default_rng(0).random((2, 28, 36), dtype=np.float32)
    small = halved(images)[:, 0].numpy()
    assert small.shape == (2, *SIZE)
    assert small[0, 1, 1] == pytest.approx(images[0, :2, :2].mean())
    assert small.sum() * 4 == pytest.approx(images.sum(), rel=1e-5)
    assert (small[:, 0] == 0).all()


def test_levels_of_overlap_are_about_equally_frequent():
    pairs = draw_pairs(mnist(), 2000, np.random.default_rng(0))
    share = np.bincount(targets_of(pairs)["overlap"], minlength=3) / 2000
    assert len(OVERLAP_EDGES) == 2
    assert share == pytest.approx([1 / 3] * 3, abs=0.04)


def test_losses_and_scores_know_their_task():
    given = problem_of(5, np.random.default_rng(0))
    torch.manual_seed(0)
    net = Branched(training.spec_of(given))
    batch = given.draw(4, np.random.default_rng(1))
    plain, loud = losses_of(net, batch, {}), losses_of(net, batch, {"left": 30.0})
    assert {task: loss.shape for task, loss in plain.items()} == {task.name: (4,) for task in TASKS}
    torch.testing.assert_close(loud["left"], 30 * plain["left"])
    assert torch.equal(loud["right"], plain["right"])
    scores = scores_of(net, [task.name for task in TASKS], given.test)
    assert all(0 <= scores[task] <= 1 for task in ("left", "right", "parity", "overlap"))
    assert scores["rebuild"] < 1


# -- nets -------------------------------------------------------------------------------------------------------------


def test_without_own_layers_the_net_is_the_plain_one_to_the_last_bit():
    branched = net_of()
    torch.manual_seed(0)
    plain = Net(SPEC)
    images = torch.rand(3, 1, *SIZE)
    assert all(torch.equal(branched.answer(task, images), output) for task, output in plain(images).items())
    assert all(torch.equal(branched(images)[task], output) for task, output in plain(images).items())


@pytest.mark.parametrize("own", [("conv1",), ("conv3",), ("embed", "conv2"), LAYERS])
def test_own_layers_start_alike_and_belong_to_one_task(own):
    net, plain = net_of(own), net_of()
    images = torch.rand(3, 1, *SIZE)
    outputs = net(images)
    for task, output in plain(images).items():
        assert torch.equal(outputs[task], output)
        assert torch.equal(net.answer(task, images), output)
    net.answer("a", images).sum().backward()
    for layer in own:
        assert all(p.grad is not None for p in net.layer(layer, "a").parameters())
        assert all(p.grad is None for p in net.layer(layer, "b").parameters())


def test_groups_hold_a_layers_weights_and_norm_and_are_disjoint():
    groups = groups_of(net_of(), ("conv3", "embed"))
    assert list(groups) == ["trunk.conv3[0:4]", "trunk.conv3[4:8]", "trunk.embed[0:3]", "trunk.embed[3:6]"]
    assert [len(pieces) for pieces in groups.values()] == [4, 4, 2, 2]  # weight, bias, and scale and shift of the norm


def test_use_is_the_share_of_squared_weights():
    net = net_of()
    with torch.no_grad():
        net.heads["a"].weight.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0, 0.0]).expand(3, 6))
        net.heads["b"].weight.copy_(torch.ones(2, 6))
    assert use_of(net).tolist() == [[1.0, 0.0], [0.5, 0.5]]


# -- baselines --------------------------------------------------------------------------------------------------------


def test_pcgrad_of_two_opposed_gradients_by_hand():
    # g1 = (1, 0), g2 = (−1, 1): g1 loses its part against g2 and becomes (1/2, 1/2); g2 becomes (0, 1).
    found = pcgrad(torch.tensor([[1.0, 0.0], [-1.0, 1.0]]), torch.Generator())
    assert found.tolist() == [0.5, 1.5]


@given(seeds, st.integers(2, 5))
def test_pcgrad_equals_torchjds_for_two_tasks_and_never_hurts_then(seed, size):
    aggregation = pytest.importorskip("torchjd.aggregation")
    gradients = torch.randn(2, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = pcgrad(gradients, torch.Generator().manual_seed(0))
    torch.testing.assert_close(found, aggregation.PCGrad()(gradients))
    assert (gradients @ found >= -1e-9).all()


@given(seeds)
def test_pcgrad_of_gradients_that_agree_is_their_sum(seed):
    gradients = torch.rand(4, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    torch.testing.assert_close(pcgrad(gradients, torch.Generator()), gradients.sum(0))


def test_the_rule_projects_shared_parameters_and_sums_the_others():
    net, plain = net_of(), net_of()
    images = torch.rand(4, 1, *SIZE)
    losses = {task: (sign * net.answer(task, images)).sum(1) for task, sign in (("a", 1), ("b", -1))}
    pcgrad_rule(net, list(net.trunk.parameters()), seed=0)(losses)
    means = [(sign * plain.answer(task, images)).sum(1).mean() for task, sign in (("a", 1), ("b", -1))]
    shared = list(plain.trunk.parameters())
    rows = [torch.cat([g.flatten() for g in torch.autograd.grad(mean, shared, retain_graph=True)]) for mean in means]
    expected = pcgrad(torch.stack(rows), torch.Generator())
    torch.testing.assert_close(torch.cat([p.grad.flatten() for p in net.trunk.parameters()]), expected)
    torch.stack(means).sum().backward()
    assert torch.equal(net.heads["a"].weight.grad, plain.heads["a"].weight.grad)


def test_recon_counts_pairs_below_its_threshold_and_takes_the_worst_layers():
    rows = torch.tensor([[1.0, 0.0], [-1.0, 0.1], [0.05, 1.0]])  # cosines −0.995, 0.05, 0.05
    assert conflicts(rows) == 1
    assert conflicts(rows, threshold=0.5) == 3
    scores = {"conv1": 0.5, "conv2": 1.2, "conv3": 0.5, "embed": 0.1}
    assert most_conflicting(scores, 2) == ("conv2", "conv3")
    assert most_conflicting(scores, 0) == ()
