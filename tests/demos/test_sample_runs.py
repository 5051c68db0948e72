"""The committed sample runs: whole, small, and showing what was planted in them."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from workbench.core import Run, validate
from workbench.demos import find_recipe
from workbench.lenses import look

SAMPLE_RUNS = Path(__file__).parents[2] / "sample_runs"
#: What all sample runs may take on disk together, in bytes.
MAX_BYTES = 15_000_000
RECIPES = ("digit-pairs", "digit-domains", "digit-biases", "faults", "null")
RUNS = [f"{name}/{variant.name}" for name in RECIPES for variant in find_recipe(name).variants]


def test_all_sample_runs_together_stay_small():
    assert sum(file.stat().st_size for file in SAMPLE_RUNS.rglob("*") if file.is_file()) <= MAX_BYTES


@pytest.mark.parametrize("name", RUNS)
def test_every_variant_was_recorded_whole(name):
    run = Run(SAMPLE_RUNS / name)
    assert (run.info.name, run.info.status, run.info.seed) == (name, "done", 0)
    assert validate(SAMPLE_RUNS / name) == []


@pytest.mark.parametrize("recipe", RECIPES)
def test_thumbnails_open(recipe):
    run = Run(SAMPLE_RUNS / recipe / find_recipe(recipe).variants[0].name)
    files = run.query("SELECT thumbnail FROM samples WHERE thumbnail IS NOT NULL")["thumbnail"]
    assert len(files) >= 100
    assert {Image.open(BytesIO(bytes(file))).height for file in files} == {28}


def test_the_bias_lens_names_the_planted_joint_effect_first():
    run = Run(SAMPLE_RUNS / "digit-biases" / "skewed")
    verdict = look(run, "bias").verdict
    assert verdict.level == "problem"
    for factor, level in run.info.config["planted"]["levels"].items():
        assert f"{factor} = {level}" in verdict.sentence
    # The two together cost more than the sum of what each costs.
    assert "below what rotation and blur cost alone" in verdict.sentence


def test_the_pair_with_the_largest_joint_effect_is_the_planted_one_by_a_plain_count():
    run = Run(SAMPLE_RUNS / "digit-biases" / "skewed")
    factors = [attribute.name for attribute in run.info.attributes]
    table = run.query(
        "SELECT samples.*, (prediction = target_digit)::DOUBLE AS hit FROM predictions JOIN samples USING (sample) "
        "WHERE step = (SELECT max(step) FROM predictions)"
    )
    joint = {}
    for i, a in enumerate(factors):
        for b in factors[i + 1 :]:
            rate = table.groupby([a, b])["hit"].mean().unstack()
            common_a, common_b = (next(x for x in run.info.attributes if x.name == name).levels[0] for name in (a, b))
            alone = rate.loc[common_a, common_b] - rate
            excess = alone.sub(alone[common_b], axis=0).sub(alone.loc[common_a], axis=1)
            joint[a, b] = excess.max(axis=None)
    assert max(joint, key=joint.get) == tuple(run.info.config["planted"]["levels"])
    assert max(joint.values()) > 0.3
    assert sorted(joint.values())[-2] < 0.15


@pytest.mark.parametrize("variant", find_recipe("digit-domains").variants, ids=lambda variant: variant.name)
def test_the_domains_lens_names_the_held_out_domain(variant):
    run = Run(SAMPLE_RUNS / "digit-domains" / variant.name)
    alarms = [verdict for verdict in look(run, "domains").verdicts if verdict.level in ("problem", "watch")]
    assert any(f"'{run.info.config['held_out']}' (held out)" in verdict.sentence for verdict in alarms)


def test_unseen_photographs_shift_the_accuracy_more_than_unseen_inversion():
    drops = {}
    for variant in find_recipe("digit-domains").variants:
        summary = Run(SAMPLE_RUNS / "digit-domains" / variant.name).info.summary
        drops[variant.name] = summary["accuracy/seen domains"] - summary["accuracy/held-out domain"]
    assert min(drops.values()) > 0
    assert drops["without-photographs"] > drops["without-inverted"] + 0.15


def test_parity_is_learnt_only_beside_the_tasks_that_name_the_digits():
    together, alone = (
        Run(SAMPLE_RUNS / "digit-pairs" / name).info.summary["accuracy/parity"] for name in ("joint", "parity-alone")
    )
    assert together > 0.75
    assert alone < 0.6
