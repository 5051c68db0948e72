"""Gradients of two datasets' losses on each label's output."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.core import Gramian, Run, RunWriter
from workbench.lenses.labels import LENS, figures
from workbench.lenses.labels.gradients import label_of
from workbench.lenses.labels.statistics import statistics


def write_pulls(path, means, noise=0.3, steps=(0, 10, 20, 30), n_batches=8, seed=0):
    """Gradients of two losses on the rows of a head: label -> (mean of A, mean of B) in two dimensions."""
    rng = np.random.default_rng(seed)
    datasets = [{"name": "A", "labels": ("sky", "rider")}, {"name": "B", "labels": ("sky", "cyclist")}]
    with RunWriter(path, datasets=datasets, tasks=["A", "B"]) as writer:
        for step in steps:
            dots = []
            for pair in means.values():
                g = np.array(pair)[:, None, :] + noise * rng.normal(size=(2, n_batches, 2)) * (np.array(pair) != 0).any(
                    axis=1
                ).reshape(2, 1, 1)
                dots.append(np.einsum("tkp,uqp->tkuq", g, g))
            modules = tuple(f"head[{label}]" for label in means)
            samples = np.full((2, n_batches), 8)
            writer.gramian(step, Gramian(modules, ("A", "B"), np.array(dots), samples))
    return Run(path)


@pytest.mark.parametrize(
    ("module", "label"), [("head[lane marking]", "lane marking"), ("trunk.conv1", None), ("a[b].c", None)]
)
def test_label_of_module(module, label):
    assert label_of(module) == label


def test_opposite_pulls_are_found_and_silent_losses_are_not(tmp_path):
    means = {"sky": ([1, 0], [1, 0.2]), "rider": ([1, 0], [-1, 0.1]), "cyclist": ([0, 0], [1, 1])}
    stats = statistics(write_pulls(tmp_path / "run", means))
    rows = stats.gradients.set_index("label")
    assert rows.loc["rider", "high"] < -0.8
    assert rows.loc["sky", "low"] > 0.8
    assert np.isnan(rows.loc["cyclist", "cosine"])
    assert rows["shared"].to_dict() == {"rider": False, "sky": True, "cyclist": False}
    assert rows["steps"].tolist() == [3, 3, 3]
    (verdict,) = [v for v in LENS.verdicts(stats) if v.level == "problem"]
    assert "pull the outputs of 1 of 3 labels in opposite directions" in verdict.sentence
    assert "'rider' (cosine -1.00" in verdict.sentence
    bars = figures.pull(stats).data[0]
    assert list(bars.y) == ["rider (one dataset only)", "sky"]


def test_noise_alone_alarms_rarely(tmp_path):
    # 60 runs of three labels whose true cosines are 0. More than 6 alarms happen in 3 % of cases at a rate of 5 %.
    means = {"sky": ([1, 0], [0, 1]), "rider": ([0, 1], [1, 0]), "cyclist": ([1, 1], [1, -1])}
    alarms = 0
    for seed in range(60):
        stats = statistics(write_pulls(tmp_path / str(seed), means, steps=(0, 10), seed=seed))
        alarms += any("opposite directions" in verdict.sentence for verdict in LENS.verdicts(stats))
    assert alarms <= 6


def test_runs_without_rows_have_none(tmp_path):
    means = {"sky": ([1, 0], [1, 0.2])}
    with RunWriter(tmp_path / "run", datasets=[{"name": "A", "labels": ("x",)}, {"name": "B", "labels": ("y",)}]):
        pass
    assert len(statistics(Run(tmp_path / "run")).gradients) == 0
    one_step = statistics(write_pulls(tmp_path / "one", means, steps=(5,)))
    assert one_step.gradients["steps"].tolist() == [1]
