"""What lies below tensors and what was measured, read from planted tables; and a fall told apart from convergence."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_gsnr import gaussian, gsnr_run

from workbench.core import Run, RunWriter
from workbench.lenses.base import read
from workbench.lenses.gsnr import LENS
from workbench.lenses.gsnr.statistics import statistics


def measured_run(path, share: float = 0.4, n_steps: int = 6, held_out: bool = True) -> Run:
    """GSNR of 64 samples at GSNR 1/64, so that R = 1/2 for 64 samples; true steps let others see ``share``."""
    rng = np.random.default_rng(0)
    run = gsnr_run(path, ["a.w"], lambda p, t, r: gaussian(r, 64, 4000, 1 / 64), n_steps=n_steps)
    rows = [
        (10 * step, k, other, 1.0, 1.0 - (0.1 if other == k else 0.1 * share + 0.01 * rng.standard_normal()))
        for step in range(n_steps)
        for k in range(6)
        for other in (k, -1 if held_out else (k + 1) % 6)
    ]
    columns = dict(
        zip(("step", "batch_along", "batch", "before", "after"), map(list, zip(*rows, strict=True)), strict=True)
    )
    fixed = {"moved": "all", "along": "", "task": "loss", "samples": 64, "lr": 0.1, "slope": 1.0, "slope_after": 1.0}
    with RunWriter(path / "trials") as writer:
        writer.write("trial_steps", fixed | columns)
    (path / "trials" / "tables" / "trial_steps").rename(path / "tables" / "trial_steps")
    return run


@pytest.mark.parametrize("held_out", [True, False])
def test_the_measured_ratio_stands_beside_the_predicted_one(tmp_path, held_out):
    found = statistics(measured_run(tmp_path / "run", held_out=held_out)).detail.measured
    assert (found.samples, found.held_out) == (64, held_out)
    np.testing.assert_allclose(found.ratio, 0.4, atol=0.1)
    assert ((found.low < 0.4) & (found.high > 0.4)).mean() >= 0.8
    np.testing.assert_allclose(found.predicted, 0.5, atol=0.05)


def test_a_prediction_that_is_too_high_is_to_be_watched(tmp_path):
    found = read(measured_run(tmp_path / "run", share=0.2), LENS).verdicts
    verdict = next(one for one in found if one.options.get("view") == "measured")
    assert verdict.level == "watch"
    assert "held-out samples saw 0." in verdict.sentence
    agrees = read(measured_run(tmp_path / "other", share=0.5), LENS).verdicts
    assert next(one for one in agrees if one.options.get("view") == "measured").level == "fine"


def detailed_run(path) -> Run:
    """Two domains that disagree on 40 of 100 parameters of a; masks that share a third; micro-batches without bias."""
    run = gsnr_run(
        path, ["a.w", "b.w"], lambda p, t, r: {d: gaussian(r, 40, 100, 0.1) for d in ("day", "night")},
        n_steps=3, domains=["day", "night"],
    )  # fmt: skip
    step = np.repeat([0, 10, 20], 4)
    filters = {"module": "a", "parameter": "a.w", "filter": np.tile(np.arange(4), 3), "count": 25, "samples": 80}
    values = {"mean_sq_sum": np.tile([1.0, 2.0, 3.0, 4.0], 3), "var_sum": 80.0, "weight_sq_sum": 25.0}
    with RunWriter(path / "more") as writer:
        writer.write("gsnr_filters", filters | values | {"step": step, "change_sq_sum": 100.0, "opposed": 5.0})
        pair = {"module": "a", "parameter": "a.w", "domain_a": "day", "domain_b": "night"}
        writer.write("gsnr_signs", pair | {"step": [0, 10], "count": 100, "opposed": [40, 20], "agreeing": 3})
        mask = {"step": 10, "previous_step": 0, "ratio": 0.05, "module": ["a", "b"], "count": 100}
        writer.write("gsnr_masks", mask | {"taken": 6, "taken_before": 6, "both": 3})
    for table in ("gsnr_filters", "gsnr_signs", "gsnr_masks"):
        (path / "more" / "tables" / table).rename(path / "tables" / table)
    return run


def test_filters_signs_and_masks_are_read(tmp_path):
    detail = statistics(detailed_run(tmp_path / "run")).detail
    # (m² - s²/n) / s² = (1 - 80/80) / 80 = 0 for the first filter, 1/80 for the second.
    assert detail.filters["gsnr"].iloc[:4].tolist() == pytest.approx([0, 1 / 80, 2 / 80, 3 / 80])
    assert detail.filters[["weight", "change", "opposed"]].iloc[0].tolist() == pytest.approx([1.0, 2.0, 0.2])
    assert detail.signs["opposed"].tolist() == [40, 20]
    masks = detail.masks.set_index("module")
    # 3 in both of 9 in either; by chance 6 · 6 / 100 = 0.36 in both of 11.64.
    assert masks.loc["a", "overlap"] == pytest.approx(3 / 9)
    assert masks.loc["", "by_chance"] == pytest.approx(0.72 / (24 - 0.72))


@pytest.mark.parametrize("view", ["filters", "signs", "mask-stability"])
def test_views_draw_what_was_recorded(tmp_path, view):
    figure = read(detailed_run(tmp_path / "run"), LENS).figure(view)
    assert len(figure.data) >= 1


@pytest.mark.parametrize("against", ["weight", "change"])
def test_filters_against_their_weights(tmp_path, against):
    figure = read(detailed_run(tmp_path / "run"), LENS).figure("filters", against=against)
    assert figure.data[0].y.tolist() == pytest.approx([1 / 80, 2 / 80, 3 / 80])
    assert "rank correlation" in figure.layout.title.text


def test_what_was_not_recorded_says_how_to(tmp_path):
    run = gsnr_run(tmp_path / "run", ["a.w"], lambda p, t, r: gaussian(r, 64, 50, 0.5), n_steps=3)
    reading = read(run, LENS)
    for view, words in {"measured": "trial_steps", "filters": "detail", "signs": "detail", "micro": "detail"}.items():
        assert words in reading.figure(view).layout.annotations[0].text


def test_falls_that_all_modules_share_are_no_alarm(tmp_path):
    # Every module falls to a fifteenth, by chance some a little further: nothing falls alone.
    levels = []
    for seed in range(12):
        run = gsnr_run(
            tmp_path / str(seed), [f"m{i}.w" for i in range(6)],
            lambda p, t, r: gaussian(r, 48, 60, 0.4 * float(np.exp(-2.7 * p))), n_steps=9, seed=seed,
        )  # fmt: skip
        levels += [one.level for one in read(run, LENS).verdicts if one.options.get("view") == "modules"]
    assert set(levels) <= {"fine"}
