import numpy as np
import pytest
from domains_runs import write_run

from workbench.core import ConfigError
from workbench.lenses.domains import aligned_figure
from workbench.lenses.domains.depth_figures import (
    bound_figure,
    class_mix_figure,
    estimates_figure,
    similarity_figure,
    split_figure,
    witness_figure,
)
from workbench.lenses.domains.statistics import statistics


@pytest.fixture(scope="module")
def stats(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures") / "run"
    shifts = {"a": 0.0, "b": 0.0, "c": 0.0, "d": 0.0, "far": 5.0}
    return statistics(write_run(folder, shifts=shifts, held_out=("far",), harm={"far": 0.4}, n=60), permutations=99)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bare") / "run"
    run = write_run(folder, shifts={"a": 0.0, "b": 5.0}, n=30, steps=(0,), layers=("trunk",), predictions=False)
    return statistics(run, permutations=19)


def test_split_bars_add_up_to_the_whole(stats):
    label, conditional, whole = split_figure(stats).data
    assert np.asarray(label.y) + np.asarray(conditional.y) == pytest.approx(np.asarray(whole.y))
    assert whole.y[4] == whole.y.min()


def test_estimates_and_truth_have_a_row_per_domain(stats):
    truth, *guesses = estimates_figure(stats).data
    assert len(truth.x) == 5
    assert guesses[0].name.endswith("(ATC)")
    assert len(guesses) == 4


def test_class_mix_of_the_furthest_domain_is_shown_first(stats):
    assert "far" in class_mix_figure(stats).layout.title.text
    bars, _, estimate = class_mix_figure(stats, "a").data
    assert sum(bars.y) == pytest.approx(100)
    assert sum(estimate.y) == pytest.approx(100)


def test_the_bound_has_three_terms_and_the_error(stats):
    assert [trace.type for trace in bound_figure(stats).data] == ["bar", "bar", "bar", "scatter"]


def test_similarity_is_symmetric_with_ones(stats):
    for compare in ("training", "layers"):
        grid = np.asarray(similarity_figure(stats, compare).data[0].z)
        assert np.allclose(grid, grid.T)
        assert (np.diag(grid) == 1).all()
    with pytest.raises(ConfigError, match="training, layers"):
        similarity_figure(stats, "runs")


def test_witness_points_carry_sample_ids(stats):
    inside, reference = witness_figure(stats, "far", "stem").data
    assert set(stats.samples.loc[inside.customdata, "domain"]) == {"far"}
    assert "far" not in set(stats.samples.loc[reference.customdata, "domain"])


def test_the_animation_has_a_frame_per_step_with_the_same_samples(stats):
    fig = aligned_figure(stats, "stem")
    assert [frame.name for frame in fig.frames] == ["0", "100"]
    for frame in fig.frames:
        assert len(frame.data) == len(fig.data)
        for trace, shown in zip(frame.data, fig.data, strict=True):
            assert (trace.customdata == shown.customdata).all()
    assert fig.layout.sliders[0].active == 1


def test_what_is_missing_is_said_in_the_figure(bare):
    for draw in (split_figure, estimates_figure, class_mix_figure, bound_figure):
        fig = draw(bare)
        assert "record predictions" in fig.layout.annotations[0].text
    assert "two steps or two layers" in similarity_figure(bare).layout.annotations[0].text
