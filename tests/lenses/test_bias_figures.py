"""The figures show what the statistics hold, with titles, axes and units."""

from __future__ import annotations

import numpy as np
import pytest
from bias_runs import write_run, write_table

from workbench.core import ConfigError
from workbench.lenses.bias import LENS, figures, pair_figures
from workbench.lenses.bias.statistics import statistics


@pytest.fixture(scope="module")
def stats(tmp_path_factory):
    return statistics(write_run(tmp_path_factory.mktemp("figures") / "run", n=2000))


def test_every_view_draws_with_a_title_and_axes(stats):
    for view in LENS.shown(stats):
        figure = view.figure(stats)
        assert figure.data, view.slug
        assert figure.layout.title.text
        assert view.about


def test_groups_are_sorted_from_the_most_harmed(stats):
    figure = figures.groups(stats)
    rows = list(figure.layout.yaxis.categoryarray)
    assert rows[0].startswith("rotation: 90")
    assert sum(len(trace.x) for trace in figure.data) == 7
    assert figure.layout.xaxis.title.text == "accuracy"
    pairs_of_ink = figures.groups(stats, order=2, factor="ink")
    assert all("ink" in row for row in pairs_of_ink.layout.yaxis.categoryarray)
    limited = figures.groups(stats, order=3, limit=4)
    assert len(limited.layout.yaxis.categoryarray) == 4
    assert "8 more in the table" in limited.layout.title.text


def test_cells_of_a_pair_name_their_group(stats):
    for row, column in (("blur", "rotation"), ("rotation", "blur")):
        cells = pair_figures.pairs(stats, row=row, column=column).data[0].meta["cells"]
        named = {name for line in cells for name in line if name}
        assert named <= set(stats.groups["group"])
        assert len(named) == 2 * 3 + 2 + 3
        assert cells[-1][-1] is None  # all samples
    assert cells[2][1] == "blur: strong · rotation: 90"
    assert cells[2][-1] == "rotation: 90"


def test_pairs_show_both_factors_and_each_alone(stats):
    heat = pair_figures.pairs(stats, row="blur", column="rotation").data[0]
    assert np.asarray(heat.z).shape == (3, 4)
    value = stats.groups.set_index("group")["value"]
    assert heat.z[1][2] == pytest.approx(value["blur: strong · rotation: 90"])
    assert heat.z[2][2] == pytest.approx(value["rotation: 90"])
    assert heat.z[1][3] == pytest.approx(value["blur: strong"])
    assert heat.z[2][3] == pytest.approx(stats.overall)
    assert pair_figures.pairs(stats).layout.yaxis.title.text == "blur"
    with pytest.raises(ConfigError, match="no factor 'size' here. Factors: blur, rotation, ink"):
        pair_figures.pairs(stats, row="size")


def test_joint_effects_show_expected_and_found(stats):
    figure = pair_figures.interaction(stats, row="blur", column="rotation")
    expected = next(trace for trace in figure.data if trace.name == "sum of what each costs alone")
    row = stats.interactions.query("lowest and factors == 'blur × rotation'").iloc[0]
    assert expected.x[0] == pytest.approx(row["expected"])


def test_training_draws_each_level_of_a_factor(stats):
    figure = figures.training(stats, factor="blur")
    names = {trace.name for trace in figure.data if trace.name}
    assert names == {"all samples", "blur: none", "blur: strong"}
    with pytest.raises(ConfigError, match="no factor 'size'"):
        figures.training(stats, factor="size")


def test_no_figure_breaks_on_a_run_without_groups(tmp_path):
    stats = statistics(write_table(tmp_path / "run", {}, [1] * 30, [1] * 30))
    for view in LENS.shown(stats):
        assert view.figure(stats) is not None
