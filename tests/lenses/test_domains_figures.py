import numpy as np
import pytest
from domains_runs import write_run

from workbench.core import ConfigError
from workbench.lenses import palette, read
from workbench.lenses.domains import LENS, colour_options, map_figure
from workbench.lenses.domains.figures import (
    chosen,
    class_bars,
    distance_matrix,
    mixing_figure,
    over_layers,
    over_training,
    wrapped,
)
from workbench.lenses.domains.statistics import statistics


@pytest.fixture(scope="module")
def stats(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures") / "run"
    run = write_run(folder, shifts={"a": 0.0, "b": 0.0, "far away": 5.0}, held_out=("far away",))
    return statistics(run, permutations=99)


def test_every_view_draws_and_explains_itself(stats):
    for view in LENS.shown(stats):
        fig = view.figure(stats)
        assert len(fig.data) > 0
        assert fig.layout.title.text
        assert fig.layout.paper_bgcolor is None  # the page's theme decides
        assert view.about


def test_points_carry_their_sample_ids(stats):
    fig = map_figure(stats, layer="stem", step=100)
    ids = np.concatenate([trace.customdata for trace in fig.data])
    assert sorted(ids) == sorted(stats.points["stem", 100].sample)
    assert [trace.name for trace in fig.data] == ["a", "b", "far away (held out)"]
    assert fig.data[2].marker.color == palette.colours(stats.domains)["far away"]
    assert fig.data[0].type == "scatter"  # 360 points need no WebGL


def test_a_selection_gets_rings_where_its_points_lie(stats):
    ids = next(iter(stats.points.values())).sample[::7]
    figure = map_figure(stats, selected=[*ids.tolist(), 10**9])
    rings = figure.data[-1]
    assert rings.name == f"selection ({len(ids)})"
    where = {
        int(sample): (x, y)
        for trace in figure.data[:-1]
        for sample, x, y in zip(trace.customdata, trace.x, trace.y, strict=True)
    }
    assert set(zip(rings.x, rings.y, strict=True)) == {where[int(sample)] for sample in ids}
    assert len(map_figure(stats, selected=[10**9]).data) == len(figure.data) - 1


def test_trust_is_printed_on_the_map_and_bad_points_are_faint(stats):
    fig = map_figure(stats)
    assert "Trustworthiness" in fig.layout.title.subtitle.text
    assert "neighbour recall" in fig.layout.title.subtitle.text
    opacity = np.concatenate([trace.marker.opacity for trace in fig.data])
    assert set(np.unique(opacity)) == {0.2, 0.85}


@pytest.mark.parametrize("colour", ["class", "ink", "size"])
def test_the_map_is_coloured_by_any_attribute(stats, colour):
    fig = map_figure(stats, colour=colour)
    assert sum(len(trace.x) for trace in fig.data) == 360
    if colour == "size":
        assert fig.data[0].marker.cmin == fig.data[1].marker.cmin
    assert colour in colour_options(stats)


def test_many_points_are_drawn_by_the_graphics_card(tmp_path):
    run = write_run(tmp_path / "run", shifts={"a": 0.0, "b": 1.0}, n=600, steps=(0,))
    assert {trace.type for trace in map_figure(statistics(run, permutations=19)).data} == {"scattergl"}


def test_the_matrix_shows_distance_and_p(stats):
    fig = distance_matrix(stats, "mmd2", "stem", 100)
    beyond, grey = fig.data
    assert np.isnan(beyond.z[0][1])  # a and b do not differ
    assert not np.isnan(grey.z[0][1])
    assert beyond.z[0][2] == beyond.z[2][0] > 0
    assert "p" in beyond.text[0][2]
    assert fig.layout.xaxis.tickangle == 0


def test_cells_of_the_matrix_name_their_pair(stats):
    for heat in distance_matrix(stats, "mmd2", "stem", 100).data:
        assert heat.meta["cells"][0] == [None, "a and b", "a and far away"]
        assert heat.meta["cells"][2][1] == "far away and b"


def test_curves_mark_what_is_beyond_chance(stats):
    fig = over_training(stats, "mmd2", "stem")
    lines = {trace.name: trace for trace in fig.data}
    assert list(lines["far away (held out)"].x) == [0, 100]
    assert all(not symbol.endswith("-open") for symbol in lines["far away (held out)"].marker.symbol)
    assert all(symbol.endswith("-open") for symbol in lines["a"].marker.symbol)
    assert fig.layout.xaxis.title.text == "training step"
    layers = over_layers(stats, "pad")
    assert list(layers.data[1].x) == ["stem", "trunk"]
    assert layers.data[1].error_y.array is not None


def test_mixing_has_a_panel_for_each_scope(stats):
    fig = mixing_figure(stats)
    assert {note.text for note in fig.layout.annotations} >= {"among all samples", "among samples of the same class"}


def test_class_bars_are_sorted_and_show_chance(stats):
    bars, chance = class_bars(stats, "far away", "stem", 100).data
    assert (np.diff(bars.y) <= 0).all()
    assert (np.array(chance.y) < np.array(bars.y)).all()


def test_a_wrong_option_names_the_right_ones(stats):
    with pytest.raises(ConfigError, match="no layer 'head'. Choose from: stem, trunk"):
        map_figure(stats, layer="head")
    with pytest.raises(ConfigError, match="Measures: mmd2"):
        over_training(stats, "cosine")
    with pytest.raises(ConfigError, match="cannot be coloured by 'x'"):
        map_figure(stats, colour="x")
    with pytest.raises(ConfigError, match="Methods: pca"):
        map_figure(stats, method="tsne")


def test_options_may_come_as_text_from_an_address(stats):
    assert chosen(stats.steps, "100", "step") == 100
    assert chosen(stats.layers, None, "layer") == "trunk"


def test_the_lens_reads_a_run_in_two_lines(tmp_path):
    reading = read(write_run(tmp_path / "run", shifts={"a": 0.0, "b": 5.0}), LENS, permutations=99)
    assert reading.verdict.sentence
    assert set(reading.tables) >= {"Distances", "Neighbour mixing", "Shift per class", "Accuracy per domain"}


def test_long_names_are_broken_into_lines():
    assert wrapped("blended over photographs") == "blended over<br>photographs"
    assert wrapped("unbreakablylongname") == "unbreakablylongname"
