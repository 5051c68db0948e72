"""Moments: closed forms, estimators, domains, merging and the table of the run format."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from workbench.core import RunWriter
from workbench.core.errors import ConfigError
from workbench.core.run import Run
from workbench.core.schema import GSNR_LOG10_EDGES
from workbench.core.tables import TABLES
from workbench.diagnostics import gsnr
from workbench.diagnostics.per_sample.moments import histogram

drawn = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(3, 2).double()


def squared(net: nn.Module) -> Any:
    return lambda x, y: (net(x) - y).square().sum(1)


def data(n: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, dtype=torch.float64, generator=draw), torch.randn(
        n, 2, dtype=torch.float64, generator=draw
    )


def gaussian(n: int, signal: float, size: int = 4000, seed: int = 0) -> gsnr.Moments:
    """Moments of n Gaussian gradients of mean ``signal`` and variance 1, for ``size`` parameters."""
    g = np.random.default_rng(seed).normal(signal, 1, (n, size))
    return gsnr.Moments({"": n}, {"w": {"": g.mean(0)}}, {"w": {"": np.square(g - g.mean(0)).sum(0)}})


def test_two_samples_by_hand() -> None:
    """Loss w·x: the per-sample gradients are the inputs 1 and 3, so mean 2, variance 2, raw GSNR 4 / 2."""
    net = nn.Linear(1, 1, bias=False)
    moments = gsnr.measure(net, lambda x: net(x).squeeze(1), [(torch.tensor([[1.0], [3.0]]),)])
    assert moments.count == {"": 2}
    assert moments.mean["weight"][""] == pytest.approx(np.array([[2.0]]))
    assert moments.variance("weight") == pytest.approx(np.array([[2.0]]))
    assert moments.gsnr("weight", corrected=False) == pytest.approx(np.array([[2.0]]))
    assert np.isnan(moments.gsnr("weight")).all()  # too few samples to correct
    assert moments.osgr() == pytest.approx((4 - 2 / 2) / 4)
    assert moments.osgr(n=4) == pytest.approx((4 - 2 / 2) / (4 - 2 / 2 + 2 / 4))


def test_corrected_value_by_hand() -> None:
    moments = gsnr.Moments({"": 5}, {"w": {"": np.array(2.0)}}, {"w": {"": np.array(8.0)}})
    assert moments.gsnr("w", corrected=False) == pytest.approx(2.0)
    assert moments.gsnr("w") == pytest.approx(2 / 4 * 2.0 - 1 / 5)


@pytest.mark.parametrize("n", [8, 32])
@pytest.mark.parametrize("signal", [0.0, 0.3, 1.0])
def test_correction_is_unbiased_for_gaussian_gradients(n: int, signal: float) -> None:
    """Within four standard errors of the truth, while the raw value is not."""
    moments = gaussian(n, signal)
    corrected, raw = moments.gsnr("w"), moments.gsnr("w", corrected=False)
    assert abs(corrected.mean() - signal**2) < 4 * corrected.std() / len(corrected) ** 0.5
    assert abs(raw.mean() - signal**2) > 4 * raw.std() / len(raw) ** 0.5


def test_osgr_estimates_the_ratio_of_the_equation() -> None:
    """Σ g̃² / Σ (g̃² + ρ²/n) with g̃ = 0.3, ρ = 1, also for another n than was measured."""
    moments = gaussian(40, 0.3)
    assert moments.osgr() == pytest.approx(0.09 / (0.09 + 1 / 40), abs=0.01)
    assert moments.osgr(n=10) == pytest.approx(0.09 / (0.09 + 1 / 10), abs=0.01)
    assert abs(gaussian(40, 0.0).osgr()) < 0.1
    assert moments.osgr(parameters=["w"]) == moments.osgr()


def test_dead_and_constant_gradients() -> None:
    moments = gsnr.Moments({"": 6}, {"w": {"": np.array([0.0, 2.0, 0.0])}}, {"w": {"": np.array([0.0, 0.0, 5.0])}})
    assert moments.gsnr("w", corrected=False).tolist() == [0.0, np.inf, 0.0]
    (counts,) = moments.table()["histogram"]
    assert counts[0] == 2
    assert counts[-1] == 1
    assert moments.table()["quantiles"][0][-1] == np.inf
    assert np.isnan(gsnr.Moments({"": 6}, {"w": {"": np.zeros(2)}}, {"w": {"": np.zeros(2)}}).osgr())


@drawn
@given(scale=st.floats(0.01, 100), n=st.integers(4, 9))
def test_scaling_the_loss_changes_no_ratio(scale: float, n: int) -> None:
    net = linear()
    plain = gsnr.measure(net, squared(net), [data(n)])
    scaled = gsnr.measure(net, lambda x, y: scale * squared(net)(x, y), [data(n)])
    np.testing.assert_allclose(scaled.gsnr("weight"), plain.gsnr("weight"), rtol=1e-8)
    assert scaled.osgr() == pytest.approx(plain.osgr(), rel=1e-8)


@drawn
@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    names=st.lists(st.sampled_from("abc"), min_size=20, max_size=20),
)
def test_batches_domains_and_merging_give_one_answer(sizes: list[int], names: list[str]) -> None:
    net, n = linear(), sum(sizes)
    x, y = data(n)
    labels = names[:n]
    whole = gsnr.measure(net, squared(net), [(x, y)], domains=[labels])
    cuts = [slice(sum(sizes[:i]), sum(sizes[: i + 1])) for i in range(len(sizes))]
    streamed = gsnr.measure(net, squared(net), [(x[c], y[c]) for c in cuts], domains=[labels[c] for c in cuts])
    parts = [gsnr.measure(net, squared(net), [(x[c], y[c])], domains=[labels[c]]) for c in cuts]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
    alone = {
        name: gsnr.measure(net, squared(net), [(x[torch.tensor(where)], y[torch.tensor(where)])])
        for name in set(labels)
        if (where := [i for i, label in enumerate(labels) if label == name])
    }
    for moments in (whole, streamed, merged):
        assert moments.count[""] == n
        assert set(moments.domains) == set(labels)
        for name in moments.parameters:
            for domain, count in moments.count.items():
                expected = whole if domain == "" else alone[domain]
                key = "" if domain else domain
                assert count == expected.count[key]
                np.testing.assert_allclose(moments.mean[name][domain], expected.mean[name][key], rtol=1e-9, atol=1e-12)
                np.testing.assert_allclose(moments.m2[name][domain], expected.m2[name][key], rtol=1e-9, atol=1e-9)


def test_agreement_between_domains() -> None:
    means = {"": np.array([2.0, 0.0]), "a": np.array([1.0, -1.0]), "b": np.array([3.0, 1.0])}
    moments = gsnr.Moments({"": 4, "a": 2, "b": 2}, {"w": means}, {"w": {domain: np.zeros(2) for domain in means}})
    np.testing.assert_allclose(moments.domain_gsnr("w"), [4.0, 0.0])


def test_domains_of_one_sample_are_not_in_the_table() -> None:
    net = linear()
    x, y = data(7)
    moments = gsnr.measure(net, squared(net), [(x, y)], domains=[["a"] * 6 + ["b"]])
    table = moments.table()
    assert table["domain"] == ["", "a"] * 2  # one sample has no variance
    assert table["samples"] == [7, 6] * 2


def test_the_table_fits_the_run_format(tmp_path: Any) -> None:
    net = nn.Sequential(linear())
    moments = gsnr.measure(net, squared(net), [data(20)], domains=[["a"] * 8 + ["b"] * 12])
    columns = moments.table()
    assert {"step", *columns} == set(TABLES["gsnr"].columns)
    assert columns["module"] == ["0"] * 6
    for row, count in enumerate(columns["count"]):
        name, domain = columns["parameter"][row], columns["domain"][row]
        raw = moments.gsnr(name, domain, corrected=False).ravel()
        counts, _ = np.histogram(np.clip(np.log10(raw), -8, 4 - 1e-9), GSNR_LOG10_EDGES)
        assert columns["histogram"][row] == counts.tolist()
        assert sum(columns["histogram"][row]) == count
        assert columns["mean_sq_sum"][row] == pytest.approx(np.square(moments.mean[name][domain]).sum())
        assert columns["var_sum"][row] == pytest.approx(moments.variance(name, domain).sum())
    with RunWriter(tmp_path / "run") as writer:
        writer.write("gsnr", {"step": 3} | columns)
    assert len(Run(tmp_path / "run").table("gsnr")) == 6


def test_histogram_keeps_far_values_in_the_outer_bins() -> None:
    raw = np.array([0.0, 1e-30, 10**-7.9, 1.0, 10**3.9, 1e30, np.inf])
    counts = histogram(raw)
    assert counts[0] == 3
    assert counts[-1] == 3
    assert counts[32] == 1


def wrong_reduction(net: nn.Module) -> Any:
    return lambda x, y: squared(net)(x, y).mean()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: gsnr.measure(net, wrong_reduction(net), [data(4)]), r"shape \[B\].*shape \(\)"),
        (lambda net: gsnr.measure(net, lambda x, y: y.sum(1), [data(4)]), "do not depend on any parameter"),
        (lambda net: gsnr.measure(net, squared(net), []), "no batch"),
        (lambda net: gsnr.measure(net, squared(net), iter(data(4))), "not a tuple"),
        (lambda net: gsnr.measure(net, squared(net), [data(4)], domains=[["a"]]), "4 losses came with 1 domain"),
        (lambda net: gsnr.measure(net, squared(net), [data(4)], domains=[]), "ends before batch 0"),
        (lambda net: gsnr.measure(net, squared(net), [data(2)], domains=[["a", ""]]), "cannot be named ''"),
        (lambda net: gsnr.measure(nn.ReLU(), squared(net), [data(4)]), "no parameter to measure"),
        (lambda net: gsnr.measure(nn.DataParallel(net), squared(net), [data(4)]), "model.module"),
        (lambda net: gsnr.measure(net, squared(net), [data(4)]).gsnr("wieght"), "'wieght' was not measured"),
        (lambda net: gsnr.measure(net, squared(net), [data(4)]).gsnr("weight", "x"), "No domain 'x'"),
        (lambda net: gsnr.measure(net, squared(net), [data(4)]).domain_gsnr("weight"), "at least 2 domains"),
        (lambda net: gsnr.measure(net, squared(net), [data(4)]).osgr(n=0), "at least 1"),
        (lambda net: gaussian(4, 1.0).merge(gaussian(4, 1.0, size=3)), "same parameters.*w"),
    ],
)
def test_mistakes_are_named_with_the_remedy(call: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call(linear())


def test_memory_does_not_grow_with_the_number_of_batches() -> None:
    """Graphs and inputs of earlier batches are gone while a later one is measured."""
    import gc
    import weakref

    net = linear()
    seen: list[Any] = []

    def batches() -> Any:
        for i in range(4):
            gc.collect()
            assert sum(ref() is not None for ref in seen) <= 1
            x, y = data(3, seed=i)
            seen.append(weakref.ref(x))
            yield x, y
            del x, y

    assert gsnr.measure(net, squared(net), batches()).count[""] == 12
