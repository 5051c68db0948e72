"""Each digit recipe for two steps: what it records is complete, and the same for the same seed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workbench.core import Run
from workbench.demos import find_recipe, train

STEPS = 2
#: Recipe -> the tables that its first variant records.
RECORDS = {
    "digit-pairs": {"scalars", "samples", "predictions", "task_gradients", "gsnr", "embeddings"},
    "digit-domains": {"scalars", "samples", "predictions", "task_gradients", "gsnr", "embeddings"},
    "digit-biases": {"scalars", "samples", "predictions", "gsnr", "embeddings"},
    "faults": {"scalars", "samples", "predictions", "task_gradients", "gsnr", "embeddings"},
    "null": {"scalars", "samples", "predictions", "task_gradients", "gsnr", "embeddings", "label_counts"},
}


def short(name):
    recipe = find_recipe(name)
    return replace(recipe, variants=tuple(replace(variant, steps=STEPS) for variant in recipe.variants))


@pytest.fixture(scope="module", params=sorted(RECORDS))
def recorded(request, tmp_path_factory):
    recipe = short(request.param)
    (path,) = train(recipe, tmp_path_factory.mktemp("runs"), seed=3, only=[recipe.variants[0].name])
    return Run(path)


def test_a_recipe_records_what_it_says(recorded):
    assert recorded.info.status == "done"
    assert recorded.info.notes == ()
    assert {name for name in RECORDS[recorded.info.recipe] if recorded.has(name)} == RECORDS[recorded.info.recipe]
    assert recorded.info.summary
    assert list(recorded.checkpoints()) == [STEPS]


def test_samples_are_described_in_full(recorded):
    samples = recorded.table("samples")
    assert samples["sample"].is_unique
    for task in recorded.info.tasks:
        if task.kind == "classification":
            assert samples[f"target_{task.name}"].between(0, len(task.classes) - 1).all()
    for attribute in recorded.info.attributes:
        assert set(samples[attribute.name]) == set(attribute.levels)
    if recorded.info.domains:
        assert set(samples["domain"]) == {domain.name for domain in recorded.info.domains}
    assert samples["thumbnail"].notna().sum() >= 100


def test_every_embedded_and_predicted_sample_is_described(recorded):
    unknown = "SELECT count(*) AS n FROM {} ANTI JOIN samples USING (sample)"
    for table in ("embeddings", "predictions"):
        assert recorded.query(unknown.format(table))["n"].item() == 0


def test_the_same_seed_gives_the_same_run(tmp_path):
    recipe = short("digit-domains")
    runs = [
        Run(train(recipe, tmp_path / str(i), seed=seed, only=[recipe.variants[0].name])[0])
        for i, seed in enumerate((3, 3, 4))
    ]
    first, again, other = (run.table("predictions") for run in runs)
    assert first.equals(again)
    assert not first.equals(other)
