"""What is looked at before training: domains, features, groups; and which batches judge."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from planted import WIDTH, regression

from workbench.core import ConfigError, Run
from workbench.diagnostics.recorder import Recorder
from workbench.forecast import data
from workbench.forecast.feed import draw, judged

TARGETS = {"a": lambda x: x[:, 0], "b": lambda x: x[:, 1]}


def domain_of(x):
    return ["high" if value > 0 else "low" for value in x[:, 0].tolist()]


def looked_at(problem, folder) -> Run:
    sampled = data.sample(problem, 0)
    with Recorder(folder, tasks=problem.tasks, domains=tuple(dict.fromkeys(sampled.domain))) as recorder:
        data.describe(recorder, sampled)
        assert data.record_features(recorder, problem, sampled) == ""
        assert data.record_embeddings(recorder, problem, problem.model(0), sampled) == ""
    return Run(folder)


def test_samples_features_and_the_shared_output_are_recorded_row_by_row(tmp_path):
    problem = regression(TARGETS, domains=domain_of, attributes=lambda x: {"sign": (x[:, 2] > 0).long()})
    run = looked_at(problem, tmp_path / "run")
    batches = torch.cat(list(problem.one_pass(0)))[:1216]
    samples = run.table("samples")
    assert samples["domain"].tolist() == domain_of(batches)
    assert samples["sign"].tolist() == [str(int(value)) for value in batches[:, 2] > 0]
    raw, _ = run.embedding(data.RAW, 0)
    np.testing.assert_allclose(raw, batches.numpy(), rtol=1e-6)
    shared, _ = run.embedding("trunk", 0)
    np.testing.assert_allclose(shared, problem.model(0).trunk(batches).detach().numpy(), rtol=1e-4, atol=1e-6)


def test_own_embedding_and_frozen_features_are_used(tmp_path):
    problem = regression(
        TARGETS, domains=domain_of, embed=lambda model, x: 2 * x, features=lambda x: torch.stack([x[:, 0]] * 3, dim=1)
    )
    run = looked_at(problem, tmp_path / "run")
    np.testing.assert_allclose(run.embedding("embed", 0)[0][:, 0], 2 * run.embedding(data.FROZEN, 0)[0][:, 0])


def test_wide_inputs_are_projected(tmp_path):
    problem = regression(TARGETS, domains=domain_of)
    wide = torch.randn(8, 1, 20, 20)
    assert data._features(problem, (wide, torch.ones(8))).shape == (8, data.WIDTH)
    assert data._features(problem, {"words": torch.ones(8, 4, dtype=torch.long)}) is None


def test_domains_that_do_not_fit_the_samples_are_named():
    problem = regression(TARGETS, domains=lambda x: ["one"], attributes=lambda x: {"sign": [1, 2]})
    with pytest.raises(ConfigError, match="one entry for every sample of a batch; they gave 1, 2"):
        data.sample(problem, 0)


def test_nothing_is_recorded_where_nothing_tells_domains_apart(tmp_path):
    problem = regression(TARGETS)
    assert data.sample(problem, 0).n == 0


def test_held_out_batches_are_no_training_batches():
    problem = regression(TARGETS)
    feed = draw(problem, seed=3, n_steps=100)
    assert feed.unseen
    assert len(feed.held_out) == 4
    assert len(feed.training) == 36
    for held in feed.held_out:
        assert not any(torch.equal(held, batch) for batch in feed.training)
    assert torch.equal(feed.batch(5), feed.training[5])
    second_pass = [feed.batch(step) for step in range(36, 72)]
    assert sorted(float(batch[0, 0]) for batch in second_pass) == sorted(float(batch[0, 0]) for batch in feed.training)
    assert not torch.equal(second_pass[0], feed.training[0])


def test_validation_batches_judge_where_there_are_some():
    problem = regression(TARGETS, validation=lambda seed: iter([torch.zeros(5, WIDTH), torch.ones(3, WIDTH)]))
    feed = draw(problem, seed=0, n_steps=10)
    assert [len(batch) for batch in feed.held_out] == [5, 3]
    assert len(feed.training) == 10


def test_one_batch_a_pass_judges_itself():
    batch = torch.randn(16, WIDTH)
    feed = draw(regression(TARGETS, batches=lambda seed: iter([batch])), seed=0, n_steps=10)
    assert not feed.unseen
    assert torch.equal(feed.held_out[0], batch)
    assert torch.equal(feed.batch(7), batch)


def test_judged_is_the_mean_over_samples_and_leaves_the_model_as_it_was():
    problem = regression(TARGETS)
    model = problem.model(0).train()
    batches = (torch.randn(3, WIDTH), torch.randn(5, WIDTH))
    found = judged(problem, model, batches, ("b",))
    every = torch.cat(batches)
    expected = ((model.heads["b"](model.trunk(every))[:, 0] - every[:, 1]) ** 2).mean().item()
    assert found.tolist() == pytest.approx([expected], rel=1e-5)
    assert model.training
