"""Margins over several seeds: which runs belong together, the mean and its band, and the figure of both."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from workbench.core import Attribute, Run, RunWriter, Task
from workbench.lenses import look
from workbench.lenses.bias.margin_bands import bands
from workbench.lenses.bias.margin_figures import offsets
from workbench.lenses.bias.margins import offsets_of
from workbench.lenses.compare import trained_alike


def write_run(path, seed, blurred, *, samples=True, probes=(10,), method="MvCoM", lr=0.1):
    """Offsets at three steps; with the faces they belong to, or as the bare log of a lean run."""
    with RunWriter(
        path,
        name="margins",
        seed=seed,
        method=method,
        config={"probes": list(probes), "lr": lr},
        tasks=[Task("person", classes=("a", "b"))],
        attributes=[Attribute("blur", levels=("sharp", "blurred"))],
    ) as rec:
        if samples:
            ids = np.arange(40)
            split = np.where(ids < 30, "train", "test")
            blur = np.where(ids % 2 == 0, "sharp", "blurred")
            rec.samples({"sample": ids, "split": split, "blur": blur, "target_person": ids % 2})
            rec.predictions(10, "person", sample=ids, prediction=ids % 2)
        for step, value in zip((0, 5, 10), blurred, strict=True):
            rec.scalars(step, {"margin/blur/blurred": value, "margin/blur/sharp": -value})
    return Run(path)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds")
    return {
        "mine": write_run(folder / "mine", 0, (0.0, 0.1, 0.2), probes=(0, 10)),
        "second": write_run(folder / "second", 2, (0.0, 0.3, 0.6), samples=False),
        "first": write_run(folder / "first", 1, (0.0, 0.2, 0.4), samples=False),
        "copy": write_run(folder / "copy", 0, (0.0, 0.1, 0.2)),
        "faster": write_run(folder / "faster", 3, (0.0, 0.9, 0.9), lr=0.2),
        "plain": write_run(folder / "plain", 4, (0.0, 0.0, 0.0), method="CosFace"),
    }


def test_runs_that_differ_in_their_seed_alone_belong_together(runs):
    """Not the same seed again, another setting or another method; when a run was looked at does not count."""
    assert trained_alike(runs["mine"], runs.values()) == [runs["first"], runs["second"]]
    assert trained_alike(runs["plain"], runs.values()) == []


def test_the_band_is_the_interval_of_the_mean(runs):
    found = bands([offsets_of(runs[name]) for name in ("mine", "first", "second")])
    last = found[(found["step"] == 10) & (found["level"] == "blurred")].iloc[0]
    # 0.2, 0.4, 0.6: mean 0.4, standard deviation 0.2, and t with two degrees of freedom is 4.3027.
    half = 4.3027 * 0.2 / 3**0.5
    assert (last["mean"], last["low"], last["high"]) == pytest.approx((0.4, 0.4 - half, 0.4 + half), rel=1e-4)
    assert set(found["n"]) == {3}
    start = found[found["step"] == 0]
    assert start[["mean", "low", "high"]].to_numpy() == pytest.approx(0.0)


def test_steps_that_one_training_lacks_are_left_out(runs):
    table = offsets_of(runs["mine"])
    found = bands([table, table[table["step"] != 5]])
    assert sorted(set(found["step"])) == [0, 10]
    assert bands([]).empty
    assert bands([table])["low"].isna().all()


def test_a_run_without_a_log_has_no_offsets(tmp_path):
    with RunWriter(tmp_path / "bare", name="bare") as rec:
        rec.samples({"sample": [0]})
    assert offsets_of(Run(tmp_path / "bare")).empty


def test_the_figure_draws_the_mean_over_this_training_and_the_others(runs):
    stats = look(runs["mine"], "bias").stats
    traces = {trace.name: trace for trace in offsets(stats, trained_alike(runs["mine"], runs.values())).data}
    assert list(traces["blur: blurred, mean"].y) == pytest.approx([0.0, 0.2, 0.4])
    assert list(traces["blur: blurred"].y) == pytest.approx([0.0, 0.1, 0.2])
    assert traces["blur: blurred"].line.width < traces["blur: blurred, mean"].line.width
    alone = offsets(stats)
    assert not any("mean" in (trace.name or "") for trace in alone.data)
    assert "One training" in alone.layout.title.subtitle.text
    assert "3 trainings" in offsets(stats, [runs["first"], runs["second"]]).layout.title.subtitle.text


def test_bars_name_the_levels_with_their_share(runs):
    bars = [trace for trace in offsets(look(runs["mine"], "bias").stats).data if trace.type == "bar"]
    assert [list(bar.text) for bar in bars] == [["blurred 50%", "sharp 50%"]]
    assert pd.Series(bars[0].x).tolist() == pytest.approx([0.5, 0.5])
