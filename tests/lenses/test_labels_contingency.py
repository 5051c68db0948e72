"""Shares between label lists: golden numbers, the plain twin over samples, honest sizes."""

from __future__ import annotations

import numpy as np
import pytest
from label_runs import write_items, write_scenes
from scipy import stats as scipy_stats

from workbench.core import Run, RunWriter
from workbench.lenses.intervals import wilson
from workbench.lenses.labels.contingency import cross_sums, npmi, pair_of, ratio
from workbench.lenses.labels.statistics import statistics

GOLDEN = np.array([[40.0, 10.0], [5.0, 45.0]])


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    return statistics(write_items(tmp_path_factory.mktemp("golden") / "run", GOLDEN.astype(int).tolist()))


def test_golden_table(golden):
    pair = golden.pair("A", "B")
    assert pair.mass.tolist() == GOLDEN.tolist()
    assert pair.b_given_a.value[0, 0] == pytest.approx(0.8)
    assert pair.a_given_b.value[0, 0] == pytest.approx(0.8889, abs=1e-4)
    assert pair.b_given_a.low[0, 0] == pytest.approx(0.6696, abs=1e-4)
    assert pair.a_given_b.low[0, 0] == pytest.approx(0.7650, abs=1e-4)
    assert 1 - pair.dice.value[0, 0] == pytest.approx(0.157895, abs=1e-6)
    assert pair.samples_a.tolist() == [50, 50]
    assert pair.samples_b.tolist() == [45, 55]
    assert pair.sources == ("A's head on B's samples",)


def test_golden_npmi():
    assert npmi(GOLDEN)[0, 0] == pytest.approx(0.6279, abs=1e-4)


def test_npmi_of_independent_and_of_identical_labels():
    assert npmi(np.outer([1.0, 2.0, 3.0], [4.0, 5.0])) == pytest.approx(0.0, abs=1e-12)
    # Half a unit in the empty cells leaves the diagonal of a large table at 1.
    assert npmi(1e9 * np.eye(3)).diagonal() == pytest.approx(1.0, abs=1e-6)
    assert np.isnan(npmi(np.zeros((2, 2)))).all()


def test_sums_equal_a_plain_loop_over_samples(tmp_path):
    run = write_scenes(tmp_path / "run", n=12, accuracy=0.8)
    stats = statistics(run)
    pair = stats.pair()
    table = run.table("label_counts")
    truth = table[table["source"] == "truth"].set_index(["dataset", "sample", "region"])
    mass = {}  # (sample, a, b) -> weight
    for (dataset, sample, region), row in truth.iterrows():
        said = table[(table["sample"] == sample) & (table["region"] == region) & (table["source"] != "truth")]
        other = said[said["source"] != dataset]
        for _, guess in other.iterrows():
            weight = row["weight"] * guess["weight"] / other["weight"].sum()
            labels = (guess["label"], row["label"]) if dataset == "fine" else (row["label"], guess["label"])
            mass[sample, *labels] = mass.get((sample, *labels), 0.0) + weight
    for i, a in enumerate(pair.labels_a):
        for j, b in enumerate(pair.labels_b):
            x = np.array([mass.get((sample, a, b), 0.0) for sample in range(24)])
            y = np.array([sum(w for (s, _, to), w in mass.items() if s == sample and to == b) for sample in range(24)])
            assert pair.mass[i, j] == pytest.approx(x.sum())
            p = x.sum() / y.sum()
            assert pair.a_given_b.value[i, j] == pytest.approx(p)
            variance, n = ((x - p * y) ** 2).sum() / y.sum() ** 2, (y > 0).sum()
            worth = p * (1 - p) / variance if variance > 0 else n
            if worth > n:
                worth = max(n, worth * (n - 1) / n * (1.959964 / scipy_stats.t.ppf(0.975, n - 1)) ** 2)
            assert pair.a_given_b.effective[i, j] == pytest.approx(worth, rel=1e-3)
            both = x.sum() * 2 / (sum(w for (_, of, _), w in mass.items() if of == a) + y.sum())
            assert pair.dice.value[i, j] == pytest.approx(both)


def test_pixels_do_not_narrow_the_interval():
    # Ten images, each wholly right or wholly wrong, with 10 or 10 000 pixels: worth ten samples either way.
    right = np.array([1.0] * 7 + [0.0] * 3)
    for pixels in (10.0, 10_000.0):
        x, y = right * pixels, np.full(10, pixels)
        sums = [np.array([[v]]) for v in (x.sum(), y.sum(), (x * x).sum(), (x * y).sum(), (y * y).sum(), 10.0)]
        rate = ratio(*sums)
        low, high = wilson(np.array([7.0]), np.array([10.0]))
        assert rate.effective.item() == pytest.approx(10.0)
        assert (rate.low.item(), rate.high.item()) == pytest.approx((low.item(), high.item()))


@pytest.mark.parametrize(("first", "second", "n"), [(3, 1, 60), (3, 1, 12), (0.3, 0.1, 60), (30, 10, 8)])
def test_interval_covers_with_clustered_pixels(first, second, n):
    # 600 repetitions of n images of random size, each with a random share of mean 0.75, steady or all-or-nothing.
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(600):
        y = rng.integers(20, 400, n).astype(float)
        x = y * rng.beta(first, second, n)
        sums = [np.array([[v]]) for v in (x.sum(), y.sum(), (x * x).sum(), (x * y).sum(), (y * y).sum(), float(n))]
        rate = ratio(*sums)
        covered += rate.low.item() <= 0.75 <= rate.high.item()
    assert covered / 600 == pytest.approx(0.95, abs=0.035)


def test_regions_of_several_labels_are_left_out_and_noted(tmp_path):
    with RunWriter(tmp_path / "run", datasets=["A", "B"]) as writer:
        writer.label_counts(dataset="B", sample=[1, 1, 2], label=["x", "y", "x"], weight=[5, 5, 8])
        writer.label_counts(dataset="B", sample=[1, 2], label=["u", "u"], source="A")
    stats = statistics(Run(tmp_path / "run"))
    assert stats.pair().mass.sum() == 8
    assert "1 of 2 annotated regions hold several labels" in stats.notes[0]


def test_only_the_chosen_step_counts(tmp_path):
    with RunWriter(tmp_path / "run") as writer:
        writer.label_counts(dataset="B", sample=[1, 2], label=["x", "x"], step=0)
        for step, said in ((10, "u"), (20, "v")):
            writer.label_counts(dataset="B", sample=[1, 2], label=[said] * 2, source="A", step=step)
    run = Run(tmp_path / "run")
    assert (statistics(run).step, statistics(run).steps) == (20, (10, 20))
    assert statistics(run).pair().labels_a == ("u", "v")
    assert statistics(run).pair().mass.ravel().tolist() == [0, 2]
    assert statistics(run, step=10).pair().mass.ravel().tolist() == [2, 0]


def test_a_dataset_against_itself_is_its_confusion(tmp_path):
    sums = cross_sums(write_scenes(tmp_path / "run", n=10, accuracy=1.0), None)
    pair = pair_of(sums, "fine", "fine", ("road", "lane"), ("road", "lane"))
    assert pair.a_given_b.value.tolist() == [[1.0, 0.0], [0.0, 1.0]]
