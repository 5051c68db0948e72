"""Tables of predictions and labels, read in pieces: the same run from pieces of any size, and gaps that are said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import open_run
from workbench.core import Run, validate
from workbench.runs import table_files, tables
from workbench.runs.foreign import convert
from workbench.runs.table_samples import SampleNumbers


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path / "cache"))


WORDS = st.sampled_from(["cat", "dog", None, "7"])
ROWS = st.lists(
    st.tuples(st.sampled_from(["im1", "im2", "im3", None]), st.sampled_from("ab"), WORDS, WORDS, st.integers(0, 40)),
    min_size=1,
    max_size=30,
)


@settings(max_examples=40)
@given(ROWS, st.integers(1, 60), st.sampled_from(["csv", "jsonl", "parquet"]))
def test_a_run_does_not_depend_on_the_pieces(tmp_path_factory, rows, cells, suffix):
    """The twin goes over the rows one by one: the first word of a sample and its first target of every task count."""
    folder = tmp_path_factory.mktemp("pieces")
    frame = pd.DataFrame(rows, columns=["sample", "task", "target", "prediction", "age"])
    file = _written(frame, folder / f"t.{suffix}")
    runs = []
    for size in (cells, 2**16):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(table_files, "CELLS", size)
            problems = convert(file, tables.FORMAT, folder / str(size))
            runs.append(Run(folder / str(size)))
    complete = frame.dropna(subset=["target", "prediction"])
    skipped = len(frame) - len(complete)
    assert [f"{skipped} row(s)" in str(problem) for problem in problems] == [True] * bool(skipped)
    one, other = runs
    assert one.info.tasks == other.info.tasks
    assert one.info.attributes == other.info.attributes
    assert one.tables == other.tables
    for table in one.tables:
        pd.testing.assert_frame_equal(one.table(table), other.table(table), check_dtype=False)
    if len(complete):
        _check_against_rows(one, complete)


def _check_against_rows(run: Run, complete: pd.DataFrame) -> None:
    names: dict[str, int] = {}
    numbers = [-1 if pd.isna(name) else names.setdefault(name, len(names)) for name in complete["sample"]]
    assert run.table("predictions")["sample"].tolist() == numbers
    samples = run.table("samples").set_index("sample")
    assert samples.index.tolist() == list(dict.fromkeys(numbers))
    classes = {task.name: task.classes for task in run.info.tasks}
    for task, rows in complete.groupby("task"):
        first: dict[int, str] = {}
        for number, target in zip(
            np.array(numbers)[(complete["task"] == task).to_numpy()], rows["target"], strict=True
        ):
            first.setdefault(int(number), str(target))
        codes = samples[f"target_{task}"].dropna()
        said = {number: classes[task][int(code)] for number, code in codes.items()}
        assert said == first


def _written(frame: pd.DataFrame, file: Path) -> Path:
    if file.suffix == ".csv":
        frame.to_csv(file, index=False)
    elif file.suffix == ".jsonl":
        frame.to_json(file, orient="records", lines=True)
    else:
        frame.to_parquet(file)
    return file


@given(st.lists(st.one_of(st.none(), st.integers(-3, 3), st.just(2**60)), max_size=30), st.integers(1, 7))
def test_numbers_of_samples_are_those_of_a_dictionary(values, cut):
    column = pd.Series(values, dtype=object)
    numbers = SampleNumbers(len(values))
    for begin in range(0, len(values), cut):
        numbers.add(column[begin : begin + cut])
    found = numbers.numbered().of(slice(0, len(values))).tolist()
    if None in values or 2**60 in values:
        seen: dict[object, int] = {}
        assert found == [-1 if value is None else seen.setdefault(value, len(seen)) for value in values]
    else:
        assert found == values


def test_rows_without_a_domain_or_task_are_kept(tmp_path):
    (tmp_path / "p.csv").write_text("target,prediction,domain,task,target_name\n1,1,day,a,x\n0,1,,,y\n0,0,night,a,\n")
    run = open_run(tmp_path / "p.csv")
    assert run.domain_names == ("day", "night")
    assert run.table("samples")["domain"].tolist() == ["day", "", "night"]
    assert run.task_names == ("a", "label")
    assert run.attribute_names == ("column target_name",)
    assert validate(run.path) == []


def test_probabilities_of_two_classes_are_told_from_a_regression(tmp_path):
    (tmp_path / "p.csv").write_text("target,prediction\n1,0.75\n0,0.5\n0,0.25\n")
    run = open_run(tmp_path / "p.csv")
    assert run.info.tasks[0].classes == ("0", "1")
    assert run.table("predictions")["prediction"].tolist() == [1, 1, 0]
    assert "probabilities: from 0.5 on they are read as class 1" in str(run.problems[0])
    (tmp_path / "q.csv").write_text("target,prediction\n31,30.5\n18,22\n")
    assert open_run(tmp_path / "q.csv").info.tasks[0].kind == "regression"


def test_one_table_holds_a_regression_and_a_classification(tmp_path):
    (tmp_path / "p.csv").write_text("task,target,prediction\ndepth,0.5,0.25\nkind,cat,dog\ndepth,1.5,2\n")
    run = open_run(tmp_path / "p.csv")
    assert {task.name: task.kind for task in run.info.tasks} == {"depth": "regression", "kind": "classification"}
    assert run.table("samples")["target_depth"].tolist()[::2] == [0.5, 1.5]
    assert run.table("predictions")["prediction"].tolist() == [0.25, 1, 2]


def test_labels_without_a_name_are_counted(tmp_path):
    (tmp_path / "l.csv").write_text("dataset,image,label,area\na,x,car,1\na,y,,2\n,y,car,3\nb,z,road,4\n")
    run = open_run(tmp_path / "l.csv")
    assert run.table("label_counts")["weight"].tolist() == [1, 4]
    assert run.dataset_names == ("a", "b")
    assert "2 row(s) without dataset or label were skipped" in str(run.problems[0])
    assert validate(run.path) == []
