"""Logs of benchmark suites, as their layouts are published: WILDS, Mammoth, LibMTL, Cockpit."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import open_run, open_runs
from workbench.core import RunFormatError, validate


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path / "cache"))


def test_wilds_keeps_splits_and_worst_groups(tmp_path):
    (tmp_path / "val_eval.csv").write_text("epoch,acc_avg,acc_wg\n0,0.5,0.1\n1,0.7,0.2\n")
    (tmp_path / "train_algo.csv").write_text("epoch,batch,objective\n0,0,2.0\n0,50,1.5\n1,0,1.0\n")
    run = open_run(tmp_path)
    table = run.table("scalars").set_index(["tag", "step"])["value"]
    assert table["val/acc_wg"].to_dict() == {0: 0.1, 1: 0.2}
    assert table["train/batches/objective"].to_dict() == {0: 2.0, 1: 1.5, 2: 1.0}
    assert validate(run.path) == []


def test_every_line_of_a_mammoth_file_is_a_run(tmp_path):
    lines = [
        {"model": "er", "seed": 3, "lr": 0.1, "accmean_task1": 90.0, "accmean_task2": 70.0, "accuracy_1_task2": 50.0},
        {"model": "er", "seed": 4, "accmean_task1": 91.0},
    ]
    (tmp_path / "logs.pyd").write_text("\n".join(map(str, lines)) + "\n__import__('os').getcwd()\n")
    runs = open_runs(tmp_path)
    assert list(runs) == ["logs.pyd/er-1", "logs.pyd/er-2"]
    first = runs["logs.pyd/er-1"]
    table = first.table("scalars").set_index(["tag", "step"])["value"]
    assert table["accmean"].to_dict() == {1: 90.0, 2: 70.0}
    assert table["accuracy/task 1"].to_dict() == {2: 50.0}
    assert (first.info.seed, first.info.method) == (3, "er")
    assert "line 3 is not a dict of constants" in str(first.problems[0])


def test_libmtl_output_is_read_by_its_own_header(tmp_path):
    (tmp_path / "train.log").write_text(
        "Total Params: 5\nLOG FORMAT | seg_LOSS mIoU | depth_LOSS abs_err | TIME\n"
        "Epoch: 0000 | TRAIN: 1.5 0.2 | 0.9 1.1 | Time: 3.2 | TEST: 1.4 0.25 | 0.8 1.0 | Time: 1.1\n"
        "Epoch: 0001 | TRAIN: 1.2 nan | 0.7 9e-1 | Time: 3.2 | TEST: 1.4 0.25 | Time: 1.1\n"
    )
    run = open_runs(tmp_path)["train.log"]
    table = run.table("scalars").set_index(["tag", "step"])["value"]
    assert table["train/depth_LOSS"].to_dict() == {0: 0.9, 1: 0.7}
    assert table["train/abs_err"].to_dict() == {0: 1.1, 1: 0.9}
    assert table["test/mIoU"].to_dict() == {0: 0.25}
    assert "1 part(s) of lines do not match LOG FORMAT, first in line 4" in str(run.problems[0])


@pytest.mark.parametrize("by_iteration", [True, False])
def test_cockpit_quantities_by_iteration(tmp_path, by_iteration):
    values = {"0": {"GradNorm": [0.5, 0.25], "Alpha": 0.1}, "10": {"Alpha": -0.2, "GradHist1d": {"hist": [1]}}}
    if not by_iteration:
        values = {"GradNorm": {"0": [0.5, 0.25]}, "Alpha": {"0": 0.1, "10": -0.2}}
    (tmp_path / "log.json").write_text(json.dumps(values))
    table = open_runs(tmp_path)["log.json"].table("scalars").set_index(["tag", "step"])["value"]
    assert table["Alpha"].to_dict() == {0: 0.1, 10: -0.2}
    assert table["GradNorm/1"].to_dict() == {0: 0.25}


@given(st.binary(max_size=200), st.sampled_from(["logs.pyd", "log.json", "train.log", "val_eval.csv"]))
def test_any_bytes_end_in_data_or_in_a_clear_error(tmp_path_factory, data, name):
    start = {
        "logs.pyd": b"{'accmean_task1': 1}\n",
        "log.json": b'{"GradNorm": ',
        "train.log": b"LOG FORMAT | a\nEpoch: 1 |",
    }
    folder = tmp_path_factory.mktemp("bytes")
    (folder / name).write_bytes(start.get(name, b"") + data)
    runs = open_runs(folder)
    for _, run in runs.items():
        try:
            run.query("SELECT count(*) FROM scalars")
        except RunFormatError as error:
            assert name in str(error)
