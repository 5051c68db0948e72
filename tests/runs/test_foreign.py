"""Logs of other programs open as runs: read when needed, read again when they grew, never written to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import workbench.runs
from workbench import open_run, open_runs
from workbench.cli import main
from workbench.core import RunFormatError, validate
from workbench.runs import FORMATS, format_of

REAL = Path(__file__).resolve().parents[3] / "shared" / "real_runs"
needs_real_runs = pytest.mark.skipif(not REAL.is_dir(), reason="the folder of real runs is not beside this checkout")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("workbench.runs.foreign.RECHECK_SECONDS", 0.0)


@pytest.fixture
def lightning_log(tmp_path) -> Path:
    folder = tmp_path / "logs" / "version_0"
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text("epoch,step,train_loss,val_loss\n0,9,0.5,\n0,9,,0.7\n1,19,nan,\n")
    (folder / "hparams.yaml").write_text("lr: 0.1\nloss: !!python/name:os.system ''\nnet: !Net {depth: 3}\n")
    return folder


def test_lightning_csv_is_sparse_scalars_and_safe_hyperparameters(lightning_log):
    run = open_run(lightning_log)
    assert run.info.question == "Read from PyTorch Lightning CSV log."
    table = run.table("scalars").set_index(["tag", "step"])["value"]
    assert table.loc["train_loss", 9] == 0.5
    assert np.isnan(table.loc["train_loss", 19])
    assert table.loc["val_loss", 9] == 0.7
    assert len(table.loc["val_loss"]) == 1
    assert run.info.config["lr"] == 0.1
    assert run.info.config["net"] == {"depth": 3}
    assert "os.system" in run.info.config["loss"]
    assert validate(run.path) == []


def test_a_yaml_object_is_never_built(tmp_path, lightning_log):
    mark = tmp_path / "ran"
    (lightning_log / "hparams.yaml").write_text(
        f"a: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{mark}']]\n"
    )
    open_run(lightning_log).table("scalars")
    assert not mark.exists()


def test_a_log_is_read_again_when_it_has_grown_and_never_changed(lightning_log):
    before = {file: file.read_bytes() for file in lightning_log.rglob("*")}
    run = open_run(lightning_log)
    assert len(run.table("scalars")) == 6
    first = run.fingerprint()
    assert run.fingerprint() == first
    assert {file: file.read_bytes() for file in lightning_log.rglob("*")} == before
    with (lightning_log / "metrics.csv").open("a") as file:
        file.write("1,29,0.1,\n")
    assert len(run.table("scalars")) == 8
    assert run.fingerprint() != first


def test_a_collection_lists_logs_without_reading_them(lightning_log, monkeypatch):
    monkeypatch.setattr("workbench.runs.foreign.convert", lambda *args: pytest.fail("the log was read"))
    runs = open_runs(lightning_log.parent)
    assert list(runs) == ["version_0"]
    assert runs.frame()["question"].tolist() == ["Read from PyTorch Lightning CSV log."]


def test_cells_that_are_no_numbers_are_counted_and_named(lightning_log):
    with (lightning_log / "metrics.csv").open("a") as file:
        file.write("2,29,oops,\n2,39,0.25,\n")
    run = open_run(lightning_log)
    assert len(run.table("scalars")) == 9
    assert "column 'train_loss': 1 cell(s) are no numbers, first 'oops' in line 5" in str(run.problems[0])


@pytest.mark.parametrize("text", ["", "\x00\x01", '"'])
def test_a_file_that_is_no_csv_is_one_sentence(lightning_log, text):
    (lightning_log / "metrics.csv").write_text(text)
    run = open_run(lightning_log)
    try:
        assert not run.has("scalars")
    except RunFormatError as error:
        assert "metrics.csv is not a CSV table" in str(error)


def test_trainer_state_numbers_become_scalars(tmp_path):
    state = {"best_metric": 0.9, "log_history": [{"loss": 1.0, "step": 5}, {"eval_f1": 0.5, "step": 5, "x": "y"}, 3]}
    (tmp_path / "trainer_state.json").write_text(json.dumps(state))
    run = open_run(tmp_path)
    assert sorted(run.table("scalars")["tag"]) == ["eval_f1", "loss"]
    assert run.info.config == {"best_metric": 0.9}
    assert "1 entries of log_history" in str(run.problems[0])


@pytest.mark.parametrize("text", ["{", "[]", '{"log_history": 3}'])
def test_a_damaged_trainer_state_is_one_sentence(tmp_path, text):
    (tmp_path / "trainer_state.json").write_text(text)
    with pytest.raises(RunFormatError, match=r"trainer_state\.json"):
        open_run(tmp_path).table("scalars")


def test_domainbed_records_name_environments_and_held_out_ones(tmp_path):
    record = {
        "args": {"algorithm": "ERM", "dataset": "PACS", "test_envs": [2], "seed": 7},
        "step": 300,
        "hparams": {"lr": 1},
    }
    record |= {f"env{i}_{split}_acc": i / 10 for i in range(4) for split in ("in", "out")}
    (tmp_path / "results.jsonl").write_text(json.dumps(record) + "\n{broken\n")
    run = open_run(tmp_path)
    table = run.table("scalars").set_index("tag")["value"]
    assert table["accuracy/P/in"] == 0.2
    assert [domain.name for domain in run.info.domains if domain.held_out] == ["P"]
    assert "1 line(s) are no DomainBed records, first line 2" in str(run.problems[0])


def test_import_writes_a_sound_native_run(lightning_log, tmp_path):
    out = tmp_path / "native"
    done = CliRunner().invoke(main, ["import", str(lightning_log), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert validate(out) == []
    again = CliRunner().invoke(main, ["import", str(lightning_log), "--out", str(out)])
    assert again.exit_code == 1
    assert "already holds a run" in again.output


def test_every_reader_file_is_in_the_tuple():
    folder = Path(workbench.runs.__file__).parent
    readers = {file.stem for file in folder.glob("*.py") if "\nFORMAT = Format(" in file.read_text()}
    assert {candidate.recognises.__module__.rsplit(".", 1)[1] for candidate in FORMATS} == readers


@needs_real_runs
@pytest.mark.parametrize(
    ("folder", "count"),
    [("tensorboard-lightning/version_0", 15_677), ("lightning-mnist/version_18", None), ("huggingface-trainer", None)],
)
def test_real_logs_open_in_full(folder, count):
    run = open_run(REAL / folder)
    table = run.table("scalars")
    assert len(table) == count if count else len(table) > 100
    assert run.problems == []
    if count:
        assert table["tag"].value_counts().to_dict() == {
            "epoch": 7838,
            "train_loss": 7738,
            "val_loss": 100,
            "hp_metric": 1,
        }
        assert run.info.config["num_classes"] == 91354


@needs_real_runs
def test_a_real_sweep_opens_as_forty_runs():
    runs = open_runs(REAL / "domainbed-vlcs-sweep")
    assert len(runs) == 40
    assert sum(len(run.query("SELECT DISTINCT step FROM scalars")) for _, run in runs.items()) == 200
    assert all(format_of(run.source).slug == "domainbed" for _, run in runs.items())
