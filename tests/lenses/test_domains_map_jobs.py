import os
import time

import numpy as np
import pytest
from domains_runs import write_run

from workbench.core import ConfigError
from workbench.core.files import cache_folder
from workbench.lenses.domains.map_jobs import MapFailed, MapJob, _prune, find_map, finished_map, start_map
from workbench.lenses.domains.points import Points
from workbench.lenses.domains.statistics import statistics
from workbench.lenses.domains.umap_worker import relations


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path / "cache"))


def _points(n: int = 60, seed: int = 0, step: int = 0) -> Points:
    features = np.random.default_rng(seed).normal(size=(n, 5)).astype(np.float32)
    return Points("trunk", step, np.arange(n), features, 1.0, np.zeros(n, dtype=np.int64), np.full(n, -1))


def _finish(job: MapJob, *slices: np.ndarray) -> None:
    job.folder.mkdir(parents=True, exist_ok=True)
    with (job.folder / "result.npz").open("wb") as file:
        np.savez(file, **{f"slice_{i}": xy for i, xy in enumerate(slices)})


def test_a_job_is_found_by_the_content_of_its_points():
    assert find_map(_points()).folder == find_map(_points()).folder
    assert find_map(_points()).folder != find_map(_points(seed=1)).folder
    assert find_map(_points()).folder != find_map(_points(), n_neighbors=5).folder
    assert find_map(_points()).folder.is_relative_to(cache_folder())
    assert find_map(_points()).state == "absent"


def test_a_finished_map_is_used_and_an_unfinished_one_replaced_by_pca(tmp_path):
    run = write_run(tmp_path / "run", shifts={"a": 0.0, "b": 1.0}, steps=(0,), layers=("trunk",))
    clouds = statistics(run, permutations=19).clouds
    points = clouds.points("trunk", 0)
    assert clouds.layout("trunk", 0, "umap").method == "pca"
    assert clouds.layout("trunk", 0, "umap") is clouds.layout("trunk", 0)
    _finish(find_map(points), points.features[:, :2].astype(np.float64))
    layout = finished_map(points)
    assert layout is not None
    assert clouds.layout("trunk", 0, "umap").method == layout.method == "umap"
    assert clouds.layout("trunk", 0, "umap") is clouds.layout("trunk", 0, "umap")
    assert start_map(points).state == "done"


def test_a_silent_child_is_taken_for_dead():
    job = find_map(_points())
    job.folder.mkdir(parents=True)
    (job.folder / "alive").touch()
    assert job.state == "running"
    assert job.progress == 0
    os.utime(job.folder / "alive", (time.time() - 1000, time.time() - 1000))
    assert job.state == "failed"
    with pytest.raises(MapFailed, match="ended early"):
        job.result()


def test_progress_is_read_from_the_folder_even_when_half_written():
    job = find_map(_points())
    job.folder.mkdir(parents=True)
    (job.folder / "alive").touch()
    (job.folder / "progress.json").write_text('{"stage": "placing the points", "fraction": 0.4}')
    assert (job.progress, job.stage) == (0.4, "placing the points")
    (job.folder / "progress.json").write_text('{"stage": "pla')
    assert job.progress == 0


def test_a_running_job_is_cancelled_and_can_be_started_again():
    job = start_map(_points())
    assert job.state == "running"
    assert start_map(_points()).folder == job.folder  # found, not started twice
    job.cancel()
    assert job.state == "cancelled"
    with pytest.raises(MapFailed, match="cancelled"):
        job.result()
    again = start_map(_points())
    assert again.state == "running"
    again.cancel()


def test_too_few_points_are_refused():
    with pytest.raises(ConfigError, match="at least 10 points"):
        start_map(_points(n=6))


def test_old_jobs_go_first(tmp_path, monkeypatch):
    monkeypatch.setattr("workbench.lenses.domains.map_jobs.MAX_JOBS", 2)
    for age in range(4):
        folder = tmp_path / "jobs" / str(age)
        folder.mkdir(parents=True)
        os.utime(folder, (1e9 - age, 1e9 - age))
    _prune(tmp_path / "jobs")
    assert sorted(child.name for child in (tmp_path / "jobs").iterdir()) == ["0", "1"]


def test_relations_join_rows_of_the_same_sample():
    assert relations([np.array([7, 8, 9]), np.array([9, 7]), np.array([1])]) == [{0: 1, 2: 0}, {}]


@pytest.mark.slow
def test_umap_in_a_child_process_is_repeatable_and_keeps_clusters(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1, 2], 40)
    features = (rng.normal(size=(120, 8)) + 12 * np.eye(8)[label]).astype(np.float32)
    points = Points("trunk", 0, np.arange(120), features, 1.0, label, label)
    job = start_map(points).wait(300)
    assert job.state == "done", job.error
    (xy,) = job.result()
    centres = np.stack([xy[label == i].mean(axis=0) for i in range(3)])
    assert (np.linalg.norm(xy[:, None] - centres, axis=2).argmin(axis=1) == label).mean() > 0.95
    monkeypatch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path / "another cache"))
    (repeated,) = start_map(points).wait(300).result()
    assert repeated == pytest.approx(xy)


@pytest.mark.slow
def test_aligned_maps_keep_samples_near_over_checkpoints():
    slices = [_points(80, seed=3, step=step) for step in range(3)]
    job = start_map(slices).wait(500)
    assert job.state == "done", job.error
    first, _, last = job.result()
    assert np.corrcoef(first[:, 0], last[:, 0])[0, 1] > 0.5
