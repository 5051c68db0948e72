"""Tables from anywhere: the roles of their columns are guessed or said, and end in the tables of a run."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from workbench import open_run, open_runs
from workbench.cli import main
from workbench.core import RunFormatError, validate
from workbench.runs.columns import guess


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path / "cache"))


FRAME = pd.DataFrame(
    {
        "image_id": ["a.png", "b.png", "c.png", "d.png"],
        "y_true": ["cat", "dog", "cat", "bird"],
        "y_pred": ["cat", "cat", "cat", "dog"],
        "prob": [0.9, 0.4, 0.8, 0.5],
        "lighting": ["day", "night", "day", None],
    }
)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_predictions_open_with_classes_and_attributes(tmp_path, suffix):
    file = tmp_path / f"results.{suffix}"
    write = {
        "csv": lambda: FRAME.to_csv(file, index=False),
        "tsv": lambda: FRAME.to_csv(file, index=False, sep="\t"),
        "jsonl": lambda: FRAME.to_json(file, orient="records", lines=True),
        "parquet": lambda: FRAME.to_parquet(file),
    }
    write[suffix]()
    run = open_runs(tmp_path)["results." + suffix]
    joined = run.query("SELECT * FROM predictions JOIN samples USING (sample) ORDER BY sample")
    assert run.info.tasks[0].classes == ("bird", "cat", "dog")
    assert joined["target_label"].tolist() == [1, 2, 1, 0]
    assert joined["prediction"].tolist() == [1, 1, 1, 2]
    assert joined["lighting"].tolist() == ["day", "night", "day", "unknown"]
    assert joined["confidence"].tolist() == [0.9, 0.4, 0.8, 0.5]
    assert "prediction = 'y_pred'" in run.info.notes[0]
    assert validate(run.path) == []


def test_integer_classes_keep_their_numbers(tmp_path):
    pd.DataFrame({"label": [0, 3, 1], "prediction": [0, 1, 1]}).to_csv(tmp_path / "p.csv", index=False)
    run = open_run(tmp_path / "p.csv")
    assert run.table("samples")["target_label"].tolist() == [0, 3, 1]
    assert run.info.tasks[0].classes == ("0", "1", "2", "3")


def test_a_regression_is_told_by_its_targets(tmp_path):
    pd.DataFrame({"target": [0.1, 2.5], "prediction": [0.2, 2.0]}).to_csv(tmp_path / "p.csv", index=False)
    run = open_run(tmp_path / "p.csv")
    assert run.table("predictions")["prediction"].tolist() == [0.2, 2.0]
    assert run.info.tasks[0].kind == "regression"


def test_wide_and_long_scalars(tmp_path):
    pd.DataFrame({"epoch": [1, 2], "train/loss": [0.5, None], "acc": [0.1, 0.2]}).to_csv(
        tmp_path / "w.csv", index=False
    )
    pd.DataFrame({"step": [1, 2], "metric": ["a", "b"], "value": [3, 4]}).to_csv(tmp_path / "l.csv", index=False)
    wide = open_run(tmp_path / "w.csv").table("scalars")
    assert wide[["step", "tag", "value"]].values.tolist() == [[1, "train/loss", 0.5], [1, "acc", 0.1], [2, "acc", 0.2]]
    assert open_run(tmp_path / "l.csv").table("scalars")["tag"].tolist() == ["a", "b"]


def test_rows_that_say_nothing_are_left_out(tmp_path):
    (tmp_path / "l.csv").write_text("step,metric,value\n1,a,3\n,,\n2,a,4\n")
    (tmp_path / "w.csv").write_text("step,loss\n1,3\n,\n2,4\n")
    for name in ("l.csv", "w.csv"):
        run = open_run(tmp_path / name)
        assert run.table("scalars")["step"].tolist() == [1, 2]
        assert run.problems == []


def test_labels_of_several_datasets(tmp_path):
    frame = pd.DataFrame({"dataset": ["A", "A", "B"], "image": [1, 1, 1], "class": ["car", "road", "vehicle"]})
    frame.to_csv(tmp_path / "labels.csv", index=False)
    run = open_run(tmp_path / "labels.csv")
    assert [dataset.labels for dataset in run.info.datasets] == [("car", "road"), ("vehicle",)]
    assert len(run.table("label_counts")) == 3


def test_a_mapping_file_overrules_the_guess(tmp_path):
    file = tmp_path / "odd.csv"
    pd.DataFrame({"gold": [1, 0], "answer": [1, 1], "g": ["x", "y"], "junk": [5, 6]}).to_csv(file, index=False)
    assert len(open_runs(tmp_path)) == 0
    with pytest.raises(RunFormatError, match="is not a run"):
        open_run(file)
    mapping = tmp_path / "odd.csv.columns.toml"
    mapping.write_text('table = "predictions"\n[columns]\ntarget = "gold"\nprediction = "answer"\nattributes = ["g"]\n')
    run = open_run(file)
    assert run.table("samples").columns.tolist()[:3] == ["sample", "target_label", "g"]
    mapping.write_text('table = "predictions"\n[columns]\ntarget = "gild"\nprediction = "answer"\n')
    with pytest.raises(RunFormatError, match=r"no column 'gild'. It has: gold, answer, g, junk"):
        open_run(file).table("samples")


def test_import_takes_a_mapping_from_anywhere(tmp_path):
    pd.DataFrame({"gold": [1, 0], "answer": [1, 1], "g": ["x", "y"]}).to_csv(tmp_path / "odd.csv", index=False)
    (tmp_path / "map.toml").write_text('table = "predictions"\n[columns]\ntarget = "gold"\nprediction = "answer"\n')
    arguments = [
        "import",
        str(tmp_path / "odd.csv"),
        "--map",
        str(tmp_path / "map.toml"),
        "--out",
        str(tmp_path / "run"),
    ]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "attributes: g" in done.output
    assert validate(tmp_path / "run") == []


def test_rows_without_an_answer_are_counted(tmp_path):
    pd.DataFrame({"target": ["a", None, "b"], "prediction": ["a", "b", None]}).to_csv(tmp_path / "p.csv", index=False)
    run = open_run(tmp_path / "p.csv")
    assert len(run.table("predictions")) == 1
    assert "2 row(s) without target or prediction" in str(run.problems[0])


def test_an_ordinary_table_is_not_taken_for_a_run():
    assert guess(["name", "price"], ["price"]) is None


@given(st.binary(max_size=400), st.sampled_from(["csv", "jsonl", "parquet"]))
def test_any_bytes_end_in_data_or_in_a_clear_error(tmp_path_factory, data, suffix):
    file = tmp_path_factory.mktemp("bytes") / f"t.{suffix}"
    file.write_bytes(data)
    try:
        run = open_run(file)
        run.query("SELECT count(*) FROM scalars")
    except RunFormatError as error:
        assert str(file) in str(error)


@given(st.integers(0, 10**4))
def test_a_cut_parquet_file_is_one_sentence(tmp_path_factory, cut):
    file = tmp_path_factory.mktemp("cut") / "t.parquet"
    pd.DataFrame({"target": np.arange(50), "prediction": np.arange(50)}).to_parquet(file)
    data = file.read_bytes()
    file.write_bytes(data[: cut % len(data)])
    with pytest.raises(RunFormatError, match=r"t\.parquet"):
        open_run(file).table("predictions")
