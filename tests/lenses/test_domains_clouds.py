import pickle
import sys

import numpy as np
import pytest
from domains_runs import write_run

from workbench.core import ConfigError
from workbench.lenses.domains import clouds, map_figure
from workbench.lenses.domains.statistics import statistics

#: The module, which the function of the same name hides in its package.
MODULE = sys.modules[statistics.__module__]


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run", shifts={"a": 0.0, "b": 2.0}, n=150, steps=(0,))


def test_a_map_shows_the_points_that_the_statistics_leave_out(run, monkeypatch):
    monkeypatch.setattr(MODULE, "_POINTS_KEPT", 100)
    stats = statistics(run, permutations=19)
    assert len(stats.points["trunk", 0].sample) == 100
    whole = stats.clouds.points("trunk", 0)
    assert sorted(whole.sample) == sorted(stats.samples.index)
    values, sample = run.embedding("trunk", 0)
    row = {int(s): i for i, s in enumerate(sample)}
    assert whole.features == pytest.approx(values[[row[int(s)] for s in whole.sample]])
    assert sum(len(trace.x) for trace in map_figure(stats).data) == 300
    assert "n = 300" in map_figure(stats).layout.title.subtitle.text


def test_a_cloud_that_the_statistics_hold_whole_is_not_read_again(run):
    stats = statistics(run, permutations=19)
    assert stats.clouds.points("trunk", 0) is stats.points["trunk", 0]
    assert stats.clouds.layout("trunk", 0) is stats.clouds.layout("trunk", 0)


def test_the_largest_map_takes_equally_many_of_every_domain_and_says_so(run, monkeypatch):
    monkeypatch.setattr(MODULE, "_POINTS_KEPT", 100)
    monkeypatch.setattr(clouds, "MAX_POINTS", 200)
    stats = statistics(run, permutations=19)
    points = stats.clouds.points("trunk", 0)
    assert np.bincount(points.domain).tolist() == [100, 100]
    assert "n = 200 of 300" in map_figure(stats).layout.title.subtitle.text


def test_only_a_few_clouds_are_kept(run, monkeypatch):
    monkeypatch.setattr(clouds, "_KEPT", 1)
    monkeypatch.setattr(MODULE, "_POINTS_KEPT", 100)
    stats = statistics(run, permutations=19)
    first = stats.clouds.points("stem", 0)
    assert stats.clouds.points("stem", 0) is first
    stats.clouds.points("trunk", 0)
    assert stats.clouds.points("stem", 0) is not first


def test_what_is_not_there_is_named(run):
    stats = statistics(run, permutations=19)
    with pytest.raises(ConfigError, match="layer 'head' were recorded at step 0"):
        stats.clouds.points("head", 0)
    with pytest.raises(ConfigError, match="no map method 'tsne'. Methods: pca, umap"):
        stats.clouds.layout("trunk", 0, "tsne")


def test_a_copy_in_another_process_shows_what_the_statistics_hold(run, monkeypatch):
    monkeypatch.setattr(MODULE, "_POINTS_KEPT", 100)
    copy = pickle.loads(pickle.dumps(statistics(run, permutations=19)))
    assert copy.clouds.points("trunk", 0).sample.tolist() == copy.points["trunk", 0].sample.tolist()
    assert "n = 100 of 300" in map_figure(copy).layout.title.subtitle.text
