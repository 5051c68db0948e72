"""GSNR dropout in the lens: what is read, what is drawn of it, and the verdict on a collapse."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_gsnr import gaussian, gsnr_run

from workbench.core import ConfigError, Run, RunWriter
from workbench.lenses.base import read
from workbench.lenses.gsnr import LENS, paired
from workbench.lenses.gsnr.dropout import blocks, dropout_verdicts, read_dropout
from workbench.lenses.gsnr.dropout_figures import churn, cliff, overlay, timeline
from workbench.lenses.gsnr.statistics import statistics

#: First layer of 3 outputs and 6 inputs: a picture of 2 x 2, then a cue of 2. The second layer is a convolution.
KEPT = np.ones((3, 6), dtype=np.uint8)
KEPT[0, 4] = KEPT[1, 4] = KEPT[2, 0] = 0
SCORE = np.where(KEPT == 0, 2.0, -1.0).astype(np.float16)
GROUPS = {"pixels": 4, "cue": 2}


def written(path, *, whole=0.9, masked=0.7, **config):
    def gradients(progress, tensor, rng):
        return gaussian(rng, 40, 18, 0.5)

    gsnr_run(path, ["first.weight", "conv.weight"], gradients, modules=["first", "conv"], config=config)
    with RunWriter(path.parent / "more", overwrite=True) as more:
        for step in (10, 20):
            more.scalars(step, {"top gsnr/cue": 0.5, "top gsnr/pixels": 0.5, "mask overlap": 0.1})
            more.scalars(step, {"accuracy/sources, whole net": whole, "accuracy/sources, masked net": masked})
            arrays = {"kept/first.weight": KEPT, "score/first.weight": SCORE}
            more.array("gsnr_mask", step, arrays | {"kept/conv.weight": np.ones((2, 3, 2, 2), np.uint8)})
        ratios = np.array([0.0, 0.1])
        more.array("ratio_cliff", 20, {
            "ratios": ratios,
            "seen/random": np.array([[0.9, 0.9], [0.8, 0.9]]),
            "unseen/random": np.array([[0.7, 0.7], [0.5, 0.6]]),
        })  # fmt: skip
    for part in ("tables/scalars", "arrays"):
        (path.parent / "more" / part).rename(path / part)
    return Run(path)


@pytest.fixture
def run(tmp_path):
    return written(tmp_path / "run", input_groups=GROUPS, input_shape=[2, 2], top_share=0.1)


def test_shares_and_their_base_rates_are_drawn(run):
    figure = timeline(statistics(run))
    lines = {trace.name: trace for trace in figure.data}
    assert lines["cue"].y.tolist() == [0.5, 0.5]
    assert lines["cue: share of all weights (33.3 %)"].y == pytest.approx((1 / 3, 1 / 3))
    assert "10 % of first-layer weights" in figure.layout.title.text


def test_the_mask_is_laid_over_what_ranked_it(run):
    stats = statistics(run)
    assert stats.dropout.first == "first.weight"
    figure = overlay(stats)
    matrix, marks, picture, bars = figure.data
    np.testing.assert_allclose(matrix.z, SCORE)
    assert sorted(zip(marks.y.tolist(), marks.x.tolist(), strict=True)) == [(0, 4), (1, 4), (2, 0)]
    # Each pixel has three weights; the median score of pixel 0 is that of the two that were kept.
    np.testing.assert_allclose(picture.z, [[-1, -1], [-1, -1]])
    # 1 of 12 weights reads a pixel and was left out, 2 of 6 read the cue.
    assert list(bars.y) == ["pixels", "cue"]
    assert list(bars.x) == pytest.approx([1 / 12, 2 / 6])
    left_out = overlay(stats, ground="left out")
    np.testing.assert_allclose(left_out.data[2].z, [[1 / 3, 0], [0, 0]])


def test_a_tensor_without_scores_or_inputs_is_drawn_alone(run):
    figure = overlay(statistics(run), tensor="conv.weight", at=10)
    assert [trace.type for trace in figure.data] == ["scatter"]
    assert "2×3×2×2" in figure.layout.title.text
    with pytest.raises(ConfigError, match="No mask was recorded at step 11. Recorded: 10, 20"):
        overlay(statistics(run), at=11)
    with pytest.raises(ConfigError, match="No mask of 'fc' was recorded"):
        overlay(statistics(run), tensor="fc")


def test_large_matrices_are_drawn_as_means_of_blocks():
    matrix = np.arange(24.0).reshape(4, 6)
    np.testing.assert_allclose(blocks(matrix, side=2), [[4, 7], [16, 19]])
    matrix[0, 0] = np.nan
    np.testing.assert_allclose(blocks(matrix, side=2)[0, 0], (1 + 2 + 6 + 7 + 8) / 5)
    np.testing.assert_array_equal(blocks(matrix[1:], side=9), matrix[1:])


def test_the_cliff_has_its_intervals(run):
    stats = statistics(run)
    found = stats.dropout.cliff
    assert found.rules == ("random",)
    assert found.mean["unseen", "random"].tolist() == pytest.approx([0.7, 0.55])
    # Two repetitions 0.1 apart: standard error 0.05, t at 97.5 % with one degree of freedom 12.706.
    assert found.half["unseen", "random"].tolist() == pytest.approx([0, 12.706 * 0.05], rel=1e-3)
    figure = cliff(stats)
    assert figure.data[0].y.tolist() == pytest.approx([0.7, 0.55])
    assert list(figure.layout.xaxis.ticktext) == ["none", "10 %"]


def test_churn_shows_overlap_and_both_accuracies(run):
    figure = churn(statistics(run))
    assert [trace.name for trace in figure.data[1:]] == ["whole net", "without what was left out"]
    assert figure.data[0].y.tolist() == [0.1, 0.1]


@pytest.mark.parametrize(("whole", "masked", "level"), [(0.9, 0.7, None), (0.3, 0.9, "problem")])
def test_a_net_that_does_better_without_its_masked_weights_has_collapsed(tmp_path, whole, masked, level):
    stats = statistics(written(tmp_path / "run", whole=whole, masked=masked))
    said = dropout_verdicts(stats.dropout)
    assert [verdict.level for verdict in said] == ([level] if level else [])
    if level:
        assert "30.0 %" in said[0].sentence
        assert "90.0 %" in said[0].sentence
        assert said[0] in LENS.verdicts(stats)
        assert said[0].options["view"] in {view.slug for view in LENS.shown(stats)}


def test_a_run_without_any_of_it_offers_none_of_the_views(tmp_path):
    run = gsnr_run(tmp_path / "run", ["fc.weight"], lambda progress, tensor, rng: gaussian(rng, 40, 18, 0.5))
    reading = read(run, LENS)
    assert {view.slug for view in LENS.shown(reading.stats)}.isdisjoint({"timeline", "overlay", "churn", "cliff"})
    for draw in (timeline, overlay, churn, cliff):
        assert draw(reading.stats).layout.annotations[0].text
    assert read_dropout(run).first is None


@pytest.mark.parametrize(
    "config",
    [{"input_groups": "cue"}, {"input_groups": {"cue": -1}}, {"input_groups": GROUPS, "input_shape": [3, 3]}, {}],
)
def test_odd_settings_are_passed_over(tmp_path, config):
    stats = statistics(written(tmp_path / "run", **config))
    assert stats.dropout.input_shape is None
    assert overlay(stats).data
    assert timeline(stats).data


def test_two_runs_stand_on_one_scale(tmp_path):
    def recorded(name, gsnr):
        return statistics(gsnr_run(tmp_path / name, ["fc.weight"], lambda p, t, rng: gaussian(rng, 40, 300, gsnr)))

    first, second = recorded("without", 0.01), recorded("with", 1.0)
    figure = paired.figure(first, second, ("without", "with"))
    assert {trace.name for trace in figure.data} == {"without", "with"}
    np.testing.assert_allclose(figure.data[0].y, first.density[-1, 0])
    np.testing.assert_allclose(figure.data[1].y, second.density[-1, 0])
    assert "step 110" in figure.layout.title.text
    assert paired.common_steps(first, second) == first.steps.tolist()
    with pytest.raises(ConfigError, match="Steps of both: 0, 10"):
        paired.figure(first, second, ("a", "b"), at=5)
