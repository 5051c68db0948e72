"""Run: damaged, incomplete and foreign folders give one clear sentence, and the rest still opens."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core import Gramian, MissingTable, Run, RunFormatError, RunWriter, validate


@pytest.fixture
def run_folder(tmp_path):
    path = tmp_path / "run"
    with RunWriter(path, tasks=["digit"], domains=["a", "b"], attributes=["colour"]) as rec:
        for part in range(3):
            rec.scalars(part, {"loss": float(part)})
            rec.flush()
        rec.samples({"sample": np.arange(4), "domain": ["a", "a", "b", "b"], "colour": ["r", "g", "r", "g"]})
        rec.predictions(2, "digit", sample=np.arange(4), prediction=[1, 2, 3, 4])
        rec.embedding(2, "trunk", np.ones((4, 2), np.float32), np.arange(4))
    return path


def test_a_sound_run_has_no_problems(run_folder):
    assert validate(run_folder) == []


def test_a_truncated_part_is_skipped_and_named(run_folder):
    part = run_folder / "tables" / "scalars" / "part-000002.parquet"
    part.write_bytes(part.read_bytes()[:-20])
    run = Run(run_folder)
    assert run.table("scalars")["step"].tolist() == [0, 2]
    assert len(run.problems) == 1
    assert "part-000002.parquet" in str(run.problems[0])
    assert "not a readable Parquet file" in str(run.problems[0])


def test_a_part_with_damaged_pages_is_skipped_by_the_query(run_folder):
    part = run_folder / "tables" / "scalars" / "part-000002.parquet"
    data = bytearray(part.read_bytes())
    data[4:60] = bytes(56)
    part.write_bytes(bytes(data))
    run = Run(run_folder)
    assert run.query("SELECT step FROM scalars ORDER BY step")["step"].tolist() == [0, 2]
    assert "data is damaged" in str(run.problems[0])
    assert any("part-000002" in str(problem) for problem in validate(run_folder))


@given(st.data())
def test_any_truncation_of_any_file_leaves_a_run_that_opens_or_says_why(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("cut") / "run"
    with RunWriter(path, tasks=["digit"]) as rec:
        rec.scalars(0, {"loss": 1.0})
        rec.embedding(0, "trunk", np.ones((2, 2), np.float32), np.arange(2))
    file = data.draw(st.sampled_from(sorted(file for file in path.rglob("*") if file.is_file())))
    size = data.draw(st.integers(0, file.stat().st_size - 1))
    file.write_bytes(file.read_bytes()[:size])
    assert validate(path)
    try:
        run = Run(path)
        run.query("SELECT count(*) FROM scalars")
        run.embedding("trunk", 0)
    except (RunFormatError, MissingTable) as error:
        assert str(path) in str(error) or "has no array" in str(error)


def test_a_part_without_a_column_is_skipped_and_named(run_folder):
    part = run_folder / "tables" / "predictions" / "part-000001.parquet"
    pd.read_parquet(part).drop(columns="confidence").to_parquet(part)
    run = Run(run_folder)
    assert not run.has("predictions")
    assert "column 'confidence' of table 'predictions' is missing" in str(run.problems[0])


def test_extra_columns_are_kept(run_folder):
    part = run_folder / "tables" / "scalars" / "part-000002.parquet"
    frame = pd.read_parquet(part)
    frame["host"] = "gpu7"
    frame.to_parquet(part)
    assert Run(run_folder).table("scalars")["host"].tolist() == [None, "gpu7", None] or (
        Run(run_folder).table("scalars")["host"].isna().tolist() == [True, False, True]
    )


def test_a_missing_table_says_what_to_record(run_folder):
    with pytest.raises(MissingTable, match=r"no table 'gsnr'.*It has: scalars(.|\n)*rec\.gsnr\("):
        Run(run_folder).table("gsnr")


def test_a_query_over_an_absent_table_is_empty(run_folder):
    assert len(Run(run_folder).query("SELECT step, quantiles FROM gsnr")) == 0


def test_query_parameters_are_bound_not_pasted(run_folder):
    assert len(Run(run_folder).query("SELECT * FROM scalars WHERE tag = ?", ["loss' OR '1'='1"])) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ('{"name": "x"', "not valid JSON"),
        ("[1, 2]", "no 'schema_version'"),
        ('{"name": "x"}', "no 'schema_version'"),
        ('{"schema_version": 99}', "reads up to 1. Upgrade"),
        ('{"schema_version": 1, "tasks": 5}', "field of the wrong form"),
        ('{"schema_version": 1, "tasks": [{"kind": "regression"}]}', "has no name"),
        ('{"schema_version": 1, "seed": "seven"}', "'seed' is 'seven'"),
        ('{"schema_version": 1, "status": "odd"}', "known: recording, done, failed"),
        ('{"schema_version": 1, "config": [1]}', "'config' must be an object"),
    ],
)
def test_a_bad_run_json_is_explained(tmp_path, text, message):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunFormatError, match=message) as error:
        Run(tmp_path)
    assert str(tmp_path / "run.json") in str(error.value)


def test_a_folder_without_run_json_is_no_run(tmp_path):
    with pytest.raises(RunFormatError, match=r"is not a run: it has no run\.json"):
        Run(tmp_path)


def test_unknown_fields_of_run_json_are_ignored(run_folder):
    data = json.loads((run_folder / "run.json").read_text())
    data["colour_scheme"] = "mauve"
    (run_folder / "run.json").write_text(json.dumps(data))
    assert Run(run_folder).task_names == ("digit",)


def test_validate_finds_what_does_not_fit_together(run_folder):
    with RunWriter(run_folder.parent / "odd", tasks=["digit"], domains=["a"]) as rec:
        rec.samples({"sample": [0, 1, 1], "domain": ["a", "b", "a"]})
        rec.predictions(0, "depth", sample=[0, 7], prediction=[1, 2])
    (run_folder.parent / "odd" / "tables" / "notes").mkdir()
    text = "\n".join(str(problem) for problem in validate(run_folder.parent / "odd"))
    assert "samples.domain names b, missing from 'domains'" in text
    assert "predictions.task names depth" in text
    assert "sample ids occur more than once: 1" in text
    assert "predictions points at 1 samples that the samples table lacks: 7" in text
    assert "notes: not a table of the run format" in text


def test_domains_may_play_the_tasks_of_a_gramian(tmp_path):
    with RunWriter(tmp_path / "run", tasks=["digit"], domains=["a", "b"]) as rec:
        dot = np.ones((1, 2, 3, 2, 3))
        rec.gramian(0, Gramian(("trunk",), ("a", "b"), dot, np.full((2, 3), 4)))
    assert validate(tmp_path / "run") == []
    with RunWriter(tmp_path / "run", tasks=["digit"], domains=["a"], overwrite=True) as rec:
        rec.gramian(0, Gramian(("trunk",), ("a", "b"), dot, np.full((2, 3), 4)))
    assert "task_gradients.task_a names b, missing from 'tasks'" in str(validate(tmp_path / "run")[0])


def test_a_run_without_anything_opens(tmp_path):
    RunWriter(tmp_path / "empty").close()
    run = Run(tmp_path / "empty")
    assert run.tables == ()
    assert validate(tmp_path / "empty") == []


def test_a_flat_table_reads_the_same_with_and_without_sql(tmp_path):
    with RunWriter(tmp_path / "run") as rec:
        rec.write("scalars", {"step": [1, 2], "tag": ["a", "ü"], "value": [0.5, np.nan], "wall_time": [1.0, 2.0]})
        rec.flush()
        rec.write("scalars", {"step": [3], "tag": ["b"], "value": [np.inf], "wall_time": [3.0], "host": ["x"]})
    run = Run(tmp_path / "run")
    pd.testing.assert_frame_equal(run.table("scalars"), run.query("SELECT * FROM scalars"))
    chosen = run.table("scalars", ["value", "step"])
    pd.testing.assert_frame_equal(chosen, run.query("SELECT value, step FROM scalars"))
    part = sorted((tmp_path / "run" / "tables" / "scalars").iterdir())[0]
    data = bytearray(part.read_bytes())
    data[8 : len(data) // 3] = bytes(len(data) // 3 - 8)
    part.write_bytes(bytes(data))
    assert Run(tmp_path / "run").table("scalars", ["step"])["step"].tolist() == [3]
