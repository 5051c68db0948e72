"""Logs made by the real Weights & Biases and MLflow clients, whole, cut and damaged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench import open_run, open_runs
from workbench.core import RunFormatError, validate

pytestmark = pytest.mark.clients

WANDB = """
import wandb
run = wandb.init(project="p", name="my run", config={"lr": 0.1, "net": {"depth": 3}}, mode="offline", dir=".",
                 settings=wandb.Settings(console="off", silent=True))
for step in range(200):
    run.log({"loss": 1 / (step + 1), "accuracy": {"left": step / 200}, "text": "x" * 300})
run.log({"broken": float("nan")}, step=500)
run.log({"weights": wandb.Histogram(np_histogram=([3, 0, 5], [0.0, 0.5, 1.0, 1.5]))}, step=501)
run.log({"rows": wandb.Table(columns=["a"], data=[[1]]), "last": {"of": {"all": 1}}}, step=502)
run.finish()
"""
MLFLOW = """
import mlflow
mlflow.set_tracking_uri("file:mlruns")
with mlflow.start_run(run_name="abc"):
    mlflow.log_param("lr", 0.1)
    for step in range(5):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
    mlflow.log_metric("val/accuracy", float("nan"), step=2)
with mlflow.start_run(run_name="deleted") as deleted:
    mlflow.log_metric("loss", 1.0)
mlflow.delete_run(deleted.info.run_id)
"""
MLFLOW_DATABASE = """
import mlflow
mlflow.set_tracking_uri("sqlite:///mlflow.db")
mlflow.set_experiment("digits")
with mlflow.start_run(run_name="outer") as outer:
    mlflow.log_params({"lr": 0.1, "net/depth": 3})
    for step in range(5):
        mlflow.log_metric("loss", 1 / (step + 1), step=step, timestamp=1700000000000 + step)
    mlflow.log_metric("broken", float("nan"), step=1)
    mlflow.log_metric("broken", float("inf"), step=2)
    with mlflow.start_run(run_name="inner", nested=True):
        mlflow.log_metric("loss", 2.0, step=7)
with mlflow.start_run(run_name="deleted") as deleted:
    mlflow.log_metric("loss", 1.0)
mlflow.delete_run(deleted.info.run_id)
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path / "cache"))


def _made(tmp_path_factory, package: str, code: str) -> Path:
    if find_spec(package) is None:
        pytest.skip(f"needs the package {package}")
    folder = tmp_path_factory.mktemp(package)
    more = {"MLFLOW_ALLOW_FILE_STORE": "true", "WANDB_MODE": "offline", "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=os.environ | more, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def wandb_folder(tmp_path_factory) -> Path:
    return _made(tmp_path_factory, "wandb", WANDB)


@pytest.fixture(scope="module")
def mlflow_folder(tmp_path_factory) -> Path:
    return _made(tmp_path_factory, "mlflow", MLFLOW)


def test_a_wandb_run_opens_once_with_its_history(wandb_folder):
    runs = open_runs(wandb_folder)
    assert len(runs) == 1
    (run,) = (run for _, run in runs.items())
    table = run.table("scalars")
    assert run.info.name == "my run"
    assert run.info.config == {"lr": 0.1, "net": {"depth": 3}}
    np.testing.assert_allclose(table.query("tag == 'loss'")["value"], 1 / np.arange(1, 201))
    assert table.query("tag == 'accuracy.left'")["step"].tolist() == list(range(200))
    assert table.query("tag == 'broken'")["value"].isna().all()
    assert set(table["tag"]) == {"loss", "accuracy.left", "broken", "last.of.all"}
    histogram = run.table("histograms")
    assert histogram["tag"].tolist() == ["weights"]
    assert histogram["step"].tolist() == [501]
    assert histogram["counts"].iloc[0].tolist() == [3, 0, 5]
    np.testing.assert_allclose(histogram["edges"].iloc[0], [0.0, 0.5, 1.0, 1.5])
    assert run.problems == []
    assert validate(run.path) == []


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_an_exported_history_of_wandb_opens_as_scalars(tmp_path, suffix):
    """Columns as the client's ``run.history()`` and the web page's export name them; a step may lack a metric."""
    history = pd.DataFrame(
        {"_step": range(300), "_runtime": 1.5, "_timestamp": 1.7e9, "loss": 0.5, "val.acc": [None] * 299 + [0.75]}
    )
    file = tmp_path / f"history{suffix}"
    if suffix == ".csv":
        history.to_csv(file, index=False)
    else:
        file.write_text("".join(json.dumps(row.dropna().to_dict()) + "\n" for _, row in history.iterrows()))
    table = open_run(file).table("scalars")
    assert table.query("tag == 'loss'")["step"].tolist() == list(range(300))
    last = table.query("tag == 'val.acc'")
    assert last[["step", "value", "wall_time"]].to_numpy().tolist() == [[299, 0.75, 1.7e9]]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(cut=st.integers(0, 2**20), flip=st.integers(0, 255))
def test_a_damaged_wandb_log_ends_in_data_or_a_clear_error(wandb_folder, tmp_path_factory, cut, flip):
    folder = tmp_path_factory.mktemp("damaged")
    data = bytearray(next(wandb_folder.rglob("run-*.wandb")).read_bytes())
    data[cut % len(data)] ^= flip
    (folder / "run-x.wandb").write_bytes(bytes(data if flip % 2 else data[: cut % len(data)]))
    run = open_run(folder)
    try:
        points = len(run.query("SELECT * FROM scalars"))
        assert points <= 402
        if flip % 2 and cut % len(data) >= 7:  # a changed byte behind the file's header is always noticed
            assert run.problems
    except RunFormatError as error:
        assert "run-x" in str(error)


def test_an_mlflow_run_opens_with_metrics_and_parameters(mlflow_folder):
    ((_, run),) = open_runs(mlflow_folder).items()
    table = run.table("scalars")
    assert run.info.name == "abc"
    assert run.info.config == {"lr": "0.1"}
    assert table.query("tag == 'loss'")["value"].tolist() == [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5]
    assert table.query("tag == 'val/accuracy'")["step"].tolist() == [2]
    assert validate(run.path) == []


def test_a_database_of_mlflow_opens_with_nested_runs_and_without_deleted_ones(tmp_path_factory):
    folder = _made(tmp_path_factory, "mlflow", MLFLOW_DATABASE)
    runs = dict(open_runs(folder).items())
    assert list(runs) == ["mlflow.db/inner", "mlflow.db/outer"]
    outer = runs["mlflow.db/outer"]
    assert outer.info.config == {"lr": "0.1", "net/depth": "3"}
    table = outer.table("scalars")
    loss = table.query("tag == 'loss'")
    assert loss["value"].tolist() == [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5]
    assert loss["wall_time"].tolist() == [1.7e9 + step / 1000 for step in range(5)]
    np.testing.assert_array_equal(table.query("tag == 'broken'")["value"], [np.nan, np.inf])
    inner = runs["mlflow.db/inner"]
    assert inner.table("scalars")["step"].tolist() == [7]
    assert inner.info.parent is not None
    assert validate(inner.path) == []


def test_a_damaged_mlflow_metric_is_named(mlflow_folder, tmp_path):
    shutil.copytree(mlflow_folder, tmp_path / "copy")
    ((_, run),) = open_runs(tmp_path / "copy").items()
    file = run.source / "metrics" / "loss"
    file.write_text(file.read_text()[:-3] + "\ngarbage\n1 2 3 4 5\n")
    ((_, run),) = open_runs(tmp_path / "copy").items()
    assert len(run.table("scalars")) >= 5
    assert "are not 'time value step'" in str(run.problems[0])
