"""Both recipes of GSNR dropout for a few steps: results, the same run for the same seed, plain training unchanged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy

from workbench.core import Run
from workbench.demos import find_recipe, train
from workbench.demos.data.cues import SOURCES, cued_domains
from workbench.demos.data.domains import DOMAINS, digit_domains
from workbench.demos.nets import Net, NetSpec
from workbench.demos.recipes.gsnr_dropout import training as leave_one_out
from workbench.demos.recipes.gsnr_shortcut import training as shortcut
from workbench.demos.recipes.gsnr_shortcut.setting import TRAINING, draw_batch, make_net, tensors

STEPS = 3
SHORTCUT, LEFT_OUT = "gsnr-shortcut", "gsnr-dropout"
RESULTS = {"accuracy/unseen", "accuracy/seen", "ratio"}


def short(name, steps=STEPS):
    recipe = find_recipe(name)
    return replace(recipe, variants=tuple(replace(variant, steps=steps) for variant in recipe.variants))


def variants(name, *, without=()):
    return [variant.name for variant in find_recipe(name).variants if variant.name not in without]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Every variant, lean."""
    folder = tmp_path_factory.mktemp("lean")
    paths = train(
        short(SHORTCUT), folder / SHORTCUT, seed=3, lean=True, only=variants(SHORTCUT, without=["ratio-sweep"])
    )
    ways = [name for name in variants(LEFT_OUT) if name.endswith("uci")]
    paths += train(short(LEFT_OUT), folder / LEFT_OUT, seed=3, lean=True, only=ways)
    return {path.name: Run(path) for path in paths}


def test_every_variant_trains_and_gives_its_results(recorded):
    for run in recorded.values():
        assert run.info.status == "done"
        assert run.info.notes == ()
        assert set(run.info.summary) >= RESULTS
        assert run.tables == ("scalars",)  # lean


def test_variants_differ_and_share_their_batches(recorded):
    losses = {
        name: run.query("SELECT value FROM scalars WHERE starts_with(tag, 'loss/') ORDER BY tag")["value"].tolist()
        for name, run in recorded.items()
    }
    same = [name for name in losses if name in shortcut.CONFIGS]
    assert len(same) == len(shortcut.CONFIGS)
    assert all(losses[name] == losses["erm"] for name in same)  # at step 0, before the first update
    seen = {name: run.info.config["dropout"] for name, run in recorded.items()}
    assert len({str(config) for config in seen.values()}) == len(shortcut.CONFIGS) + len(leave_one_out.CONFIGS)


def test_claims_compare_what_the_runs_give(recorded):
    for recipe in (find_recipe(SHORTCUT), find_recipe(LEFT_OUT)):
        assert len(recipe.seeds) >= 5
        for claim in recipe.claims:
            assert claim.result in {*RESULTS, "cue share early", "cue share late"}


def test_the_same_seed_gives_the_same_run_and_lean_changes_nothing(tmp_path, recorded):
    (full,) = train(short(SHORTCUT), tmp_path / "full", seed=3, only=["domains"])
    (again,) = train(short(SHORTCUT), tmp_path / "again", seed=3, only=["domains"])
    (other,) = train(short(SHORTCUT), tmp_path / "other", seed=4, only=["domains"])
    first, second, third = (
        load_file(path / "checkpoints" / f"step-{STEPS:08d}.safetensors") for path in (full, again, other)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], third[name]) for name in first)
    assert Run(full).info.summary == recorded["domains"].info.summary


def test_a_full_record_holds_what_the_lens_draws(tmp_path):
    (path,) = train(short(SHORTCUT, steps=21), tmp_path, seed=3, only=["domains"])
    run = Run(path)
    assert {"gsnr", "gsnr_filters", "predictions", "samples", "scalars"} <= set(run.tables)
    assert run.array_steps("gsnr_mask") == [20]
    assert sum(run.info.config["input_groups"].values()) == run.array("gsnr_mask", 20)["kept/first.weight"].shape[1]
    tags = set(run.query("SELECT DISTINCT tag FROM scalars")["tag"])
    assert {"top gsnr/cue", "top gsnr/pixels", "mask overlap", "accuracy/sources, masked net"} <= tags
    shares = run.query(
        "SELECT step, sum(value) AS whole FROM scalars WHERE starts_with(tag, 'top gsnr/') GROUP BY step"
    )
    assert shares["whole"].tolist() == pytest.approx([1.0] * len(shares))


def test_the_sweep_records_every_rule_at_every_ratio(tmp_path):
    (path,) = train(short(SHORTCUT, steps=1), tmp_path, seed=3, only=["ratio-sweep"])
    run = Run(path)
    assert run.array_steps("ratio_cliff") == [0, 1]
    cliff = run.array("ratio_cliff", 1)
    rules = {name.partition("/")[2] for name in cliff if "/" in name}
    assert rules == {"random", "domains", "samples"}
    for rule in rules:
        for where in ("seen", "unseen"):
            assert cliff[f"{where}/{rule}"].shape == (len(cliff["ratios"]), 3)
            assert np.array_equal(cliff[f"{where}/{rule}"][0], cliff[f"{where}/random"][0])  # ratio 0 masks nothing
    assert run.has("gsnr")


def test_with_ratio_0_the_shortcut_recipe_is_plain_training_to_the_last_bit(tmp_path):
    (path,) = train(short(SHORTCUT), tmp_path, seed=3, only=["erm"])
    found = load_file(path / "checkpoints" / f"step-{STEPS:08d}.safetensors")
    rng = np.random.default_rng(3)
    sources, _ = cued_domains(rng)
    data = {name: tensors(cued) for name, cued in sources.items()}
    torch.manual_seed(3)
    net = make_net()
    optimizer = TRAINING.optimizer_for(net)
    for _ in range(STEPS):
        batch = draw_batch(data, TRAINING.batch, rng)
        inputs, labels = (torch.cat([batch[name][i] for name in SOURCES]) for i in (0, 1))
        nats = cross_entropy(net(inputs), labels, reduction="none")
        optimizer.zero_grad()
        torch.stack([part.mean() for part in nats.split(32)]).sum().backward()
        optimizer.step()
    assert all(torch.equal(found[name], value) for name, value in net.state_dict().items())


def test_with_ratio_0_the_other_recipe_is_plain_training_to_the_last_bit(tmp_path):
    (path,) = train(short(LEFT_OUT), tmp_path, seed=3, only=["erm-without-uci"])
    found = load_file(path / "checkpoints" / f"step-{STEPS:08d}.safetensors")
    rng = np.random.default_rng(3)
    digits, _ = digit_domains(leave_one_out.N_TEST, rng)
    data = {name: leave_one_out.tensors(digits[name]) for name in DOMAINS if name != "uci"}
    torch.manual_seed(3)
    net = Net(NetSpec({"digit": 10}, size=(14, 14), width=8, features=32, slope=0.1))
    optimizer = leave_one_out.TRAINING.optimizer_for(net)
    for _ in range(STEPS):
        batch = leave_one_out.draw_batch(data, leave_one_out.TRAINING.batch, rng)
        images, labels = (torch.cat([part[i] for part in batch.values()]) for i in (0, 1))
        nats = cross_entropy(net(images)["digit"], labels, reduction="none")
        optimizer.zero_grad()
        torch.stack([part.mean() for part in nats.split(15)]).sum().backward()
        optimizer.step()
    assert all(torch.equal(found[name], value) for name, value in net.state_dict().items())


def test_any_gradient_rule_fits_the_recipe(tmp_path):
    (path,) = train(short(LEFT_OUT), tmp_path, seed=3, lean=True, only=["erm-without-uci"], gradients="gsnr_dropout")
    assert Run(path).info.status == "done"
