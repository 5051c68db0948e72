"""The recipes mvcom and cdt for a few steps: every variant trains, its results are there, the same seed repeats."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workbench.core import Run, validate
from workbench.demos import find_recipe, train
from workbench.demos.recipes.cdt.training import SETUPS as EPISODES
from workbench.demos.recipes.mvcom import training as margins

STEPS = 10


def short(name):
    recipe = find_recipe(name)
    return replace(recipe, variants=tuple(replace(variant, steps=STEPS) for variant in recipe.variants))


@pytest.fixture(scope="module", params=["mvcom", "cdt"])
def lean(request, tmp_path_factory):
    return [Run(path) for path in train(short(request.param), tmp_path_factory.mktemp("runs"), seed=3, lean=True)]


def test_every_variant_gives_what_the_claims_compare(lean):
    recipe = find_recipe(lean[0].info.recipe)
    assert [run.info.name.split("/")[1] for run in lean] == [variant.name for variant in recipe.variants]
    given = {run.info.name.split("/")[1]: run.info.summary for run in lean}
    for claim in recipe.claims:
        assert abs(claim.difference(given)) < 1000
    assert all(run.tables == ("scalars",) for run in lean)


@pytest.mark.parametrize(("recipe", "variant"), [("mvcom", "mislabelled-mvcom"), ("cdt", "cdt"), ("cdt", "one-group")])
def test_a_whole_run_is_complete_and_trains_as_the_lean_one(recipe, variant, tmp_path):
    (whole,) = train(short(recipe), tmp_path / "whole", seed=3, only=[variant])
    (lean,) = train(short(recipe), tmp_path / "lean", seed=3, only=[variant], lean=True)
    assert validate(whole) == []
    assert Run(whole).info.summary == Run(lean).info.summary
    assert {"scalars", "samples", "predictions"} <= set(Run(whole).tables)
    assert Run(whole).has("embeddings") == (variant == "cdt")


def test_another_seed_gives_other_results(tmp_path):
    recipe = short("cdt")
    runs = [Run(train(recipe, tmp_path / str(seed), seed=seed, only=["cosface"], lean=True)[0]) for seed in (3, 4)]
    assert runs[0].info.summary != runs[1].info.summary


def test_learned_margins_with_a_cap_of_zero_are_cosface_to_the_last_bit(tmp_path, monkeypatch):
    learned = replace(margins.SETUPS["mvcom"].config, cap=0.0)
    monkeypatch.setitem(margins.SETUPS, "mvcom", replace(margins.SETUPS["mvcom"], config=learned))
    neutral, plain = (
        Run(train(short("mvcom"), tmp_path, seed=3, only=[name], lean=True)[0]) for name in ("mvcom", "cosface")
    )
    assert neutral.info.summary == plain.info.summary


def test_baselines_differ_from_the_methods_in_what_they_say_alone():
    cdt = EPISODES["cdt"]
    assert EPISODES["cdt-without-look-ahead"] == replace(cdt, alpha=0.0)
    assert EPISODES["mldg"] == replace(cdt, metric="none")
    assert EPISODES["turned-metrics"] == replace(cdt, alpha=0.0, metric="turned")
    assert EPISODES["local-triplet"] == replace(cdt, alpha=0.0, metric="identity")
    assert margins.SETUPS["cosface"].config == replace(margins.SETUPS["mvcom"].config, cap=0.0)
