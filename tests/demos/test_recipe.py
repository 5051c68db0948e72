"""How recipes are run: folders, progress, seeds, stopping."""

from __future__ import annotations

import subprocess
import sys
import types

import pytest
import torch

from workbench.core import ConfigError, Run
from workbench.demos import RECIPES, Job, Recipe, Variant, find_recipe, train


@pytest.fixture
def coin(monkeypatch):
    """Records one random number of torch a step."""

    def record(job: Job) -> None:
        with job.recorder(config={"variant": job.variant.name}) as rec:
            for step in range(job.variant.steps):
                job.tick()
                rec.scalars(step, {"draw": torch.rand(())})

    module = types.ModuleType("coin")
    module.record = record
    monkeypatch.setitem(sys.modules, "coin", module)
    variants = (Variant("one", "first", steps=3), Variant("two", "second", steps=2, question="Why two?"))
    return Recipe("coin", "Heads?", "Draws numbers.", variants, "coin")


def draws(path):
    return Run(path).table("scalars")["value"].tolist()


def test_every_variant_becomes_a_run_that_names_its_recipe(coin, tmp_path):
    seen = []
    paths = train(coin, tmp_path, seed=5, progress=lambda done, total: seen.append((done, total)))
    assert [path.name for path in paths] == ["one", "two"]
    first, second = (Run(path).info for path in paths)
    assert (first.recipe, first.seed, first.status, first.question) == ("coin", 5, "done", "Heads?")
    assert second.question == "Why two?"
    assert seen == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


def test_a_seed_decides_the_run_and_leaves_the_callers_random_state_alone(coin, tmp_path):
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    same = [draws(train(coin, tmp_path / name, seed=1, only=["one"])[0]) for name in "ab"]
    other = draws(train(coin, tmp_path / "c", seed=2, only=["one"])[0])
    assert same[0] == same[1] != other
    assert torch.equal(torch.rand(3), expected)


def test_stopping_keeps_what_was_recorded(coin, tmp_path):
    asked = iter([False, False, True])
    (path,) = train(coin, tmp_path, stop=lambda: next(asked))
    run = Run(path)
    assert len(draws(path)) == 2
    assert run.info.status == "failed"
    assert run.info.notes == ("Stopped by hand after 2 of 3 steps.",)


def test_a_run_that_is_there_is_replaced_only_on_request(coin, tmp_path):
    train(coin, tmp_path, only=["two"])
    with pytest.raises(ConfigError, match="two already holds a run"):
        train(coin, tmp_path)
    assert not (tmp_path / "one").exists()
    assert len(train(coin, tmp_path, overwrite=True)) == 2


def test_unknown_names_are_answered_with_the_known_ones(coin, tmp_path):
    with pytest.raises(ConfigError, match="has no variant 'three'. Variants: one, two"):
        train(coin, tmp_path, only=["three"])
    with pytest.raises(ConfigError, match="no recipe 'nope'. Recipes: digit-pairs"):
        find_recipe("nope")


def test_recipes_are_listed_without_torch():
    code = "import sys, workbench.demos as d; [r.question for r in d.RECIPES]; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_names_are_unique_and_every_recipe_says_what_it_is():
    names = [recipe.name for recipe in RECIPES]
    assert len(set(names)) == len(names)
    for recipe in RECIPES:
        variants = [variant.name for variant in recipe.variants]
        assert len(set(variants)) == len(variants) > 0
        assert recipe.question.endswith("?")
        assert len(recipe.about) > 80
        assert all(variant.steps > 0 for variant in recipe.variants)
