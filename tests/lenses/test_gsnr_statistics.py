"""Statistics of the GSNR lens: known gradients in, their truth out."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from synthetic_gsnr import gaussian, gsnr_run, row

from workbench.core import MissingTable, Run, RunWriter
from workbench.lenses.gsnr.statistics import (
    MASK_RATIOS,
    Span,
    best_span,
    generalising,
    pooled_ratio,
    span_of,
    statistics,
)

TENSORS = ("conv.weight", "conv.bias", "fc.weight")


def constant(n: int = 64, size: int = 300, gsnr: float = 0.5):
    return lambda progress, tensor, rng: gaussian(rng, n, size, gsnr)


def test_parts_are_all_then_modules_in_declared_order_then_tensors(tmp_path):
    run = gsnr_run(tmp_path / "run", TENSORS, constant(), modules=["fc", "conv"], n_steps=3)
    stats = statistics(run)
    assert stats.parts == ("all parameters", "fc", "conv", "fc.weight", "conv.weight", "conv.bias")
    assert stats.module_of.tolist() == [0, 1, 2, 1, 2, 2]
    assert stats.count.tolist() == [900, 300, 600, 300, 300, 300]


def test_numbers_equal_those_of_the_gradients(tmp_path):
    kept = {}

    def gradients(progress, tensor, rng):
        kept[tensor] = gaussian(rng, 40, 50, 0.3)
        return kept[tensor]

    stats = statistics(gsnr_run(tmp_path / "run", TENSORS, gradients, n_steps=1))
    mean = {name: g.mean(axis=0) for name, g in kept.items()}
    var = {name: g.var(axis=0, ddof=1) for name, g in kept.items()}
    signal = {name: (mean[name] ** 2 - var[name] / 40).sum() for name in kept}
    conv = sum(signal[name] for name in TENSORS[:2]) / sum(var[name].sum() for name in TENSORS[:2])
    assert stats.snr[0, 1] == pytest.approx(conv)
    whole = sum(signal.values())
    assert stats.osgr[0] == pytest.approx(whole / (whole + sum(v.sum() for v in var.values()) / 40))
    assert stats.loss_share[0].sum() == pytest.approx(1 - stats.osgr[0])


def test_generalisation_ratio_equals_the_weighted_form(tmp_path):
    # R = 1 - 1/n sum_j W_j / (r_j + 1/n) with r_j the debiased GSNR and W_j = E[g_D,j²] / sum: the same number.
    g = gaussian(np.random.default_rng(5), 32, 200, 0.4)
    mean, var = g.mean(axis=0), g.var(axis=0, ddof=1)
    signal = mean**2 - var / 32
    weight = (signal + var / 32) / (signal + var / 32).sum()
    expected = 1 - (weight / (signal / var + 1 / 32)).sum() / 32
    stats = statistics(gsnr_run(tmp_path / "run", ["a.w"], lambda *_: g, n_steps=1))
    assert stats.osgr[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("n", [16, 64, 512])
def test_numbers_do_not_depend_on_the_number_of_samples(tmp_path, n):
    stats = statistics(gsnr_run(tmp_path / "run", ["a.w"], constant(n=n, size=4000), n_steps=3))
    assert stats.snr.mean() == pytest.approx(0.5, rel=0.05)


def test_pure_noise_has_no_signal(tmp_path):
    stats = statistics(gsnr_run(tmp_path / "run", ["a.w"], constant(size=4000, gsnr=0.0), n_steps=6))
    assert stats.signal_share.mean() == pytest.approx(0.0, abs=0.01)
    assert stats.osgr_best.value < 0.05
    assert stats.density[:, 0, 0].mean() > 0.6


def test_share_with_a_signal(tmp_path):
    def gradients(progress, tensor, rng):
        return np.concatenate([gaussian(rng, 100, 3000, 0.0), gaussian(rng, 100, 1000, 1.0)], axis=1)

    stats = statistics(gsnr_run(tmp_path / "run", ["a.w"], gradients, n_steps=3))
    assert stats.signal_share.mean() == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("cosine", [1.0, 0.0, -0.8])
def test_agreement_is_the_cosine_between_domains(tmp_path, cosine):
    size = 400
    first = np.zeros(size)
    first[0] = 3.0
    second = np.zeros(size)
    second[:2] = 3.0 * cosine, 3.0 * np.sqrt(1 - cosine**2)

    def gradients(progress, tensor, rng):
        noise = rng.standard_normal((2, 60, size)) * np.array([1.0, 2.0])[:, None, None] / 4
        return {"day": first + noise[0], "night": (second + noise[1])[:40]}

    stats = statistics(gsnr_run(tmp_path / "run", ["a.w"], gradients, n_steps=10, domains=["night", "day"]))
    assert stats.domains == ("night", "day")
    span = stats.agreement_mean[1]
    assert span.low - 0.02 < cosine < span.high + 0.02
    assert np.isfinite(stats.domain_snr).all()


def test_without_domains_there_is_no_agreement(tmp_path):
    stats = statistics(gsnr_run(tmp_path / "run", ["a.w"], constant(), n_steps=3))
    assert np.isnan(stats.agreement).all()


def test_a_collapse_is_dated(tmp_path):
    def gradients(progress, tensor, rng):
        return gaussian(rng, 64, 800, 0.01 if tensor == "a.w" and progress > 0.5 else 0.8)

    stats = statistics(gsnr_run(tmp_path / "run", ["a.w", "b.w"], gradients, n_steps=20))
    assert stats.collapses["part"].tolist() == ["a"]
    assert stats.collapses["step"].tolist() == [100]


@pytest.mark.parametrize("gsnr", [0.0, 0.5])
def test_steady_modules_do_not_collapse(tmp_path, gsnr):
    tensors = [f"m{i}.w" for i in range(40)]
    stats = statistics(gsnr_run(tmp_path / "run", tensors, constant(n=32, size=100, gsnr=gsnr), n_steps=12))
    assert len(stats.collapses) <= 1


def test_training_size_from_config_then_samples_then_what_was_measured(tmp_path):
    measured = gsnr_run(tmp_path / "a", ["a.w"], constant(), n_steps=3)
    assert (statistics(measured).n_train, statistics(measured).n_train_known) == (64, False)
    configured = gsnr_run(tmp_path / "b", ["a.w"], constant(), n_steps=3, config={"n_train": 1000})
    assert (statistics(configured).n_train, statistics(configured).n_train_known) == (1000, True)
    assert statistics(configured, n_train=50).n_train == 50


def test_infinite_entries_are_counted_and_left_out(tmp_path):
    with RunWriter(tmp_path / "run") as writer:
        for step in range(4):
            numbers = row(gaussian(np.random.default_rng(step), 32, 20, 0.5))
            if step == 2:
                numbers["var_sum"] = np.nan
            columns = {name: [value] for name, value in numbers.items()}
            writer.write("gsnr", {"step": step, "module": "a", "parameter": "a.w", "domain": ""} | columns)
    stats = statistics(Run(tmp_path / "run"))
    assert stats.nonfinite == 1
    assert np.isnan(stats.osgr[2])
    assert np.isfinite(stats.osgr[[0, 1, 3]]).all()


def test_a_large_record_is_thinned(tmp_path):
    stats = statistics(gsnr_run(tmp_path / "run", TENSORS, constant(size=5), n_steps=20), max_rows=15)
    assert len(stats.steps) == 5
    assert stats.n_recorded == 20


def test_a_run_without_the_table_says_how_to_record_it(tmp_path):
    with RunWriter(tmp_path / "run"):
        pass
    with pytest.raises(MissingTable, match=r"rec\.gsnr"):
        statistics(Run(tmp_path / "run"))


def test_the_mask_takes_the_wanted_share_from_the_modules_with_most_signal(tmp_path):
    def gradients(progress, tensor, rng):
        return gaussian(rng, 100, 500, {"low.weight": 0.05, "high.weight": 2.0, "high.bias": 5.0}[tensor])

    run = gsnr_run(tmp_path / "run", ["low.weight", "high.weight", "high.bias"], gradients, n_steps=3)
    stats = statistics(run)
    weights = np.array([500, 500])
    for place, ratio in enumerate(MASK_RATIOS):
        taken = stats.masked[:, place]
        assert (taken @ weights / 1000).tolist() == pytest.approx([ratio] * 3, abs=0.01)
        assert (taken[:, 0] < 0.05).all() or ratio == 0.5


def test_spans():
    steps, values = np.arange(9), np.array([0.0, 0, 5, 6, 7, 8, 9, 0, -1])
    best = best_span(steps, values)
    assert (best.first, best.last) == (2, 6)
    # Positive values are averaged as logarithms.
    assert best.value == pytest.approx((5 * 6 * 7 * 8 * 9) ** 0.2)
    # Three values, sd 1: half-width t(2) / sqrt 3 = 2.484.
    mixed = span_of(np.arange(3), np.array([-1.0, 0.0, 1.0]), slice(None))
    assert (mixed.low, mixed.high) == (pytest.approx(-2.484, abs=1e-3), pytest.approx(2.484, abs=1e-3))
    assert span_of(steps, values, slice(2, 4)).high == np.inf


def test_the_ratio_of_a_span_stays_between_0_and_1():
    # r = 1/N gives 1/2; limits below 0 give 0.
    found = generalising(Span(0, 9, 10, 0.01, -0.5, np.inf), 100)
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)


def test_pooled_ratio_of_noise_is_unknown():
    noise = np.array([1.0, -1, 1, -1])
    assert np.isnan(pooled_ratio(np.arange(4), noise, noise).value)
    steady = pooled_ratio(np.arange(4), np.full(4, 0.3), np.ones(4))
    assert (steady.value, steady.low) == (pytest.approx(0.3), pytest.approx(0.3))


def test_statistics_pickle(tmp_path):
    stats = statistics(gsnr_run(tmp_path / "run", TENSORS, constant(), n_steps=3))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(stats)).density, stats.density)
