"""The stream of digit tasks, the baselines, and what a short training of every variant records."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from workbench.core import Run, validate
from workbench.core.continual import average_accuracy, forgetting
from workbench.demos import find_recipe, train
from workbench.demos.data.streams import DOMAINS, UNSEEN
from workbench.demos.recipes.mahalanobis_continual.ewc import ElasticWeights, fisher
from workbench.demos.recipes.mahalanobis_continual.study import N_CLASSES, N_TASKS, SCOPES, Study, shown_digits
from workbench.demos.recipes.mahalanobis_continual.training import SETTINGS, longest_metric, measures
from workbench.lenses.domains.stream import stream_of
from workbench.methods.mahalanobis_continual import GrowingNet, LinearHead

RECIPE = find_recipe("mahalanobis-continual")
SHORT = replace(RECIPE, variants=tuple(replace(variant, steps=25) for variant in RECIPE.variants))


def learned(variant, seed=0, tasks=2, steps=4):
    torch.manual_seed(seed)
    study = Study(SETTINGS[variant], seed)
    for _ in range(tasks):
        study.begin_task()
        for _ in range(steps):
            study.step()
        study.end_task()
    return study


@pytest.fixture(scope="module")
def short_runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("short")
    return {path.name: Run(path) for path in train(SHORT, folder, seed=5, only=list(SETTINGS), lean=True)}


def test_every_variant_has_settings_and_gives_every_result(short_runs):
    assert {*SETTINGS, "decay-sweep"} == {variant.name for variant in RECIPE.variants}
    assert set(SETTINGS) == set(short_runs)
    for run in short_runs.values():
        assert run.tables == ("scalars",)
        assert validate(run.path) == []
        results = run.info.summary
        assert all(np.isfinite(value) for value in results.values())
        assert results["gap"] == pytest.approx(results["accuracy/seen"] - results["accuracy/unseen"])
        for claim in RECIPE.claims:
            assert claim.result in results


def test_a_lean_run_and_a_whole_one_train_alike(tmp_path, short_runs):
    (path,) = train(SHORT, tmp_path, seed=5, only=["metric-average"])
    whole = Run(path)
    assert whole.info.summary == short_runs["metric-average"].info.summary
    assert set(whole.tables) == {"scalars", "samples", "predictions", "embeddings"}
    samples = whole.table("samples").set_index("sample")
    assert set(samples["domain"]) == set(DOMAINS)
    assert [domain.name for domain in whole.info.domains if domain.held_out] == list(UNSEEN)
    # The stage of a sample names its digit.
    assert all(str(row.target_digit) in row.stream_stage.split(": ")[1] for row in samples.itertuples())
    # Answers name only digits met so far, and the factors belong to those.
    steps = sorted(whole.table("predictions")["step"].unique().tolist())
    first = whole.query("SELECT DISTINCT prediction FROM predictions WHERE step = ?", [steps[0]])["prediction"]
    stage = next(attribute for attribute in whole.info.attributes if attribute.name == "stream_stage").levels[0]
    assert {str(int(digit)) for digit in first} <= set(stage.split(": ")[1].split(" and "))
    assert [len(whole.array("class_metrics.backbone", step)["classes"]) for step in steps] == [2, 4, 6, 8, 10]


def test_a_sweep_records_every_setting_and_is_read_as_a_stream(tmp_path):
    (path,) = train(SHORT, tmp_path, seed=5, only=["decay-sweep"])
    run = Run(path)
    assert validate(path) == []
    stream = stream_of(run)
    sweep = stream.sweep
    assert sweep.setting == run.info.config["sweep"]
    assert sweep.scopes == ("seen", "unseen")
    assert sweep.points["setting"].nunique() == 7
    assert len(sweep.points) == 7 * 5 * 2
    # The accuracies of the first training with the method's own decay give the same two sides.
    own = sweep.points[(sweep.points["setting"] == "0.99") & (sweep.points["scope"] == "seen")].iloc[0]
    matrix = stream.matrix("accuracy", "seen domains")
    assert own["old"] == pytest.approx(matrix[-1, :-1].mean())
    assert own["new"] == pytest.approx(np.diagonal(matrix).mean())


def test_without_distillation_the_learner_is_replay_to_the_last_bit():
    changed = replace(SETTINGS["linear-average"], config=replace(SETTINGS["linear-average"].config, distil=0.0))
    torch.manual_seed(0)
    study = Study(changed, 0)
    for _ in range(2):
        study.begin_task()
        for _ in range(4):
            study.step()
        study.end_task()
    replay = learned("replay")
    assert all(torch.equal(a, b) for a, b in zip(study.net.parameters(), replay.net.parameters(), strict=True))


def test_a_balanced_end_changes_nothing_but_what_follows_the_first_task():
    """One task has nothing to be balanced with; with two, only classes that are kept get a say."""
    alone, plain = learned("balanced", tasks=1), learned("replay", tasks=1)
    assert all(torch.equal(a, b) for a, b in zip(alone.net.parameters(), plain.net.parameters(), strict=True))
    both, other = learned("balanced", tasks=2), learned("replay", tasks=2)
    assert not all(torch.equal(a, b) for a, b in zip(both.net.parameters(), other.net.parameters(), strict=True))
    np.testing.assert_array_equal(both.memory, other.memory)
    assert replace(SETTINGS["balanced"], balanced=0) == SETTINGS["replay"]


def test_the_longest_metric_is_the_largest_singular_value_of_any_class():
    study = learned("metric-average")
    factors = study.net.head.factors.detach()
    longest = max(torch.linalg.svdvals(factor)[0].item() for factor in factors)
    assert longest_metric(study)["metric/largest length"] == pytest.approx(longest)
    assert longest_metric(learned("replay")) == {}


def test_the_memory_holds_six_exemplars_of_every_class_met_two_a_domain_and_no_test_digit():
    study = learned("metric-average", tasks=3)
    labels, domains = study.labels[study.memory], study.train.domains[study.memory]
    assert np.unique(labels).tolist() == list(range(6))
    assert all(((labels == c) & (domains == d)).sum() == 2 for c in range(6) for d in range(3))
    assert len(learned("fine-tuning").memory) == 0
    tested = {image.tobytes() for image in study.test.images}
    assert not any(image.tobytes() in tested for image in study.train.images[study.memory])


def test_other_numbers_for_the_classes_give_the_same_measures():
    study = learned("replay", tasks=N_TASKS, steps=3)
    answers = study.answers(averaged=False)
    found = study.accuracy(answers)
    swapped = np.arange(N_CLASSES) ^ 1  # the two classes of every task change their numbers
    study.test_labels = swapped[study.test_labels]
    np.testing.assert_array_equal(study.accuracy(answers[:, swapped]), found)


def test_the_recorded_pictures_show_no_digit_in_two_domains():
    study = Study(SETTINGS["replay"], 0)
    index = shown_digits(study, len(study.test))
    n = len(study.test) // len(DOMAINS)
    assert len(set((index % n).tolist())) == len(index) == n
    assert np.isin(shown_digits(study, 80), index).all()


def test_accuracy_counts_per_domain_and_task():
    study = learned("replay", tasks=N_TASKS, steps=2)
    answers = study.answers(averaged=False)
    found = study.accuracy(answers)
    right = answers.argmax(dim=1).numpy() == study.test_labels
    mask = (study.test.domains == 3) & (study.test_labels // 2 == 1)
    assert found.shape == (len(DOMAINS), N_TASKS)
    assert found[3, 1] == pytest.approx(right[mask].mean())
    assert answers.shape[1] == N_CLASSES


def test_measures_average_over_domains_first():
    accuracy = np.random.default_rng(0).random((N_TASKS, len(DOMAINS), N_TASKS))
    accuracy[:, :, 1:][0] = np.nan
    found = measures(np.where(np.tri(N_TASKS, dtype=bool)[:, None], accuracy, np.nan))
    matrix = np.nan_to_num(accuracy[:, :3].mean(axis=1))
    assert found["accuracy/seen"] == pytest.approx(float(average_accuracy(matrix)))
    assert found["forgetting/seen"] == pytest.approx(float(forgetting(matrix)))
    assert set(SCOPES) == {name.split("/")[1] for name in found if "/" in name}


# -- elastic weight consolidation -------------------------------------------------------------------------------------


def two_layers():
    torch.manual_seed(0)
    net = GrowingNet(nn.Sequential(nn.Linear(3, 4), nn.Tanh()), LinearHead(4))
    x = torch.randn(10, 3)
    net.grow(x, torch.arange(10) % 2)
    return net, x


def test_fisher_equals_a_loop_over_examples():
    net, x = two_layers()
    torch.manual_seed(7)
    found = fisher(net, x)
    torch.manual_seed(7)
    drawn = torch.distributions.Categorical(logits=net(x).detach()).sample()
    total = {name: torch.zeros_like(p) for name, p in net.named_parameters()}
    for one, answer in zip(x, drawn, strict=True):
        net.zero_grad()
        net(one[None]).log_softmax(dim=1)[0, answer].backward()
        for name, parameter in net.named_parameters():
            total[name] += parameter.grad.square() / len(x)
    for name, value in total.items():
        torch.testing.assert_close(found[name], value)


def test_the_penalty_is_zero_where_the_task_ended_and_counts_only_rows_that_were_there():
    net, x = two_layers()
    elastic = ElasticWeights(3.0)
    assert elastic.penalty(net).item() == 0
    elastic.remember(net, x)
    net.grow(x, 2 + torch.arange(10) % 2)
    assert elastic.penalty(net).item() == 0
    with torch.no_grad():
        net.head.bias[0] += 2.0
        net.head.bias[3] += 5.0
    assert elastic.penalty(net).item() == pytest.approx(3.0 / 2 * elastic.fisher["head.bias"][0].item() * 4.0)
    elastic.remember(net, x)
    assert elastic.fisher["head.bias"].shape == (4,)
    assert elastic.penalty(net).item() == 0
