"""Tables as spreadsheets, pandas and loggers leave them open in the same way, however few rows are read at a time."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import open_run
from workbench.core import RunFormatError
from workbench.runs import table_files
from workbench.runs.columns import guess
from workbench.runs.table_files import TableFile, chunks, head, left_out, load_table


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path / "cache"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize(("separator", "mark"), [(",", "."), (";", ","), (";", "."), ("\t", ","), ("|", ".")])
def test_separator_decimal_mark_and_encoding_are_told(tmp_path, separator, mark, encoding):
    frame = pd.DataFrame({"step": [1, 2, 3], "größe": [0.5, 1.25, -3.0], "who": ["Jürgen", "b", "c"]})
    frame.to_csv(tmp_path / "t.csv", sep=separator, decimal=mark, encoding=encoding, index=False)
    pd.testing.assert_frame_equal(load_table(tmp_path / "t.csv"), frame)


def test_one_damaged_letter_does_not_make_a_utf8_file_another_encoding(tmp_path):
    (tmp_path / "t.csv").write_bytes("name,größe\nJürgen,1\n".encode() + b"\xff,2\n")
    assert load_table(tmp_path / "t.csv")["name"].tolist() == ["Jürgen", "\ufffd"]


def test_quoted_newlines_empty_columns_and_repeated_names(tmp_path):
    (tmp_path / "t.csv").write_text('step,"lo\nss",loss,loss,empty\n1,0.5,"1",2,\n2,"0.25",3,4,\n')
    frame = load_table(tmp_path / "t.csv")
    assert frame.columns.tolist() == ["step", "lo\nss", "loss", "loss.1", "empty"]
    run = open_run(tmp_path / "t.csv")
    assert set(run.table("scalars")["tag"]) == {"lo\nss", "loss", "loss.1"}


@pytest.mark.parametrize("name", ["t.csv", "metrics.csv"])
def test_lines_with_too_many_cells_are_counted(tmp_path, name):
    lines = ["step,epoch,loss", "1,0,0.5", "2,0,0.25,8,9", "", "3,0,0.125", "4,0,1,2", '5,0,"1"']
    (tmp_path / name).write_text("\n".join(lines))
    run = open_run(tmp_path if name == "metrics.csv" else tmp_path / name)
    run.table("scalars")
    said = [problem.reason for problem in run.problems if "skipped" in problem.reason]
    assert said == ["2 line(s) with more than the 3 cells of the header were skipped"]


def test_a_prediction_whose_line_has_too_many_cells_is_left_out_and_counted(tmp_path):
    (tmp_path / "t.csv").write_text("kind,target,prediction\na,0,0\nb, or c,1,0\nd,1,1\n")
    run = open_run(tmp_path / "t.csv")
    assert run.table("predictions")["prediction"].tolist() == [0, 1]
    assert [problem.reason for problem in run.problems if "skipped" in problem.reason] == [
        "1 line(s) with more than the 3 cells of the header were skipped"
    ]


def test_a_header_without_a_name_for_the_saved_index_leaves_no_line_out(tmp_path):
    (tmp_path / "t.csv").write_text("step,loss\n0,1,0.5\n1,2,0.25\n")
    assert left_out(tmp_path / "t.csv") == []


def test_a_saved_index_is_no_tag_and_no_attribute(tmp_path):
    assert guess(["Unnamed: 0", "target", "prediction"], ["Unnamed: 0"]).rest == ()  # type: ignore[union-attr]
    frame = pd.DataFrame({"step": [1, 2], "loss": [0.5, 0.25]}, index=[7, 8])
    frame.to_csv(tmp_path / "t.csv")
    frame.to_parquet(tmp_path / "u.parquet")
    frame.set_index("step").to_parquet(tmp_path / "v.parquet")
    for name in ("t.csv", "u.parquet", "v.parquet"):
        table = open_run(tmp_path / name).table("scalars")
        assert table[["step", "tag", "value"]].to_numpy().tolist() == [[1, "loss", 0.5], [2, "loss", 0.25]]


def test_nested_objects_and_changing_keys_of_json_lines(tmp_path):
    lines = [
        {"step": 1, "train": {"loss": 0.5, "by": {"left": 1}}, "note": {}},
        {"step": 2, "val": {"loss": 0.25}, "list": [1]},
    ]
    (tmp_path / "t.jsonl").write_text("\ufeff" + "\n\n".join(map(json.dumps, lines)) + '\n{"step": 3, "tr')
    table = open_run(tmp_path / "t.jsonl").table("scalars").set_index("tag")
    assert table["value"].to_dict() == {"train.loss": 0.5, "train.by.left": 1.0, "val.loss": 0.25}
    assert table["step"].to_dict() == {"train.loss": 1, "train.by.left": 1, "val.loss": 2}


def test_dictionaries_lists_and_times_of_parquet(tmp_path):
    frame = pd.DataFrame(
        {
            "step": [1, 2],
            "phase": pd.Categorical(["a", "b"]),
            "grid": [[1, 2], [3]],
            "timestamp": pd.to_datetime(["2026-01-01T00:00:00.0Z", "2026-01-01T00:00:01.5Z"]),
            "loss": [0.5, 0.25],
            "code": pd.Categorical([3, 4]),
        }
    )
    frame.to_parquet(tmp_path / "t.parquet")
    table = open_run(tmp_path / "t.parquet").table("scalars")
    assert set(table["tag"]) == {"loss", "code"}
    assert sorted(set(table["wall_time"])) == [1767225600.0, 1767225601.5]


def test_a_line_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(table_files, "_LONGEST_LINE", 100)
    (tmp_path / "t.jsonl").write_text('{"step": 1, "loss": "' + "x" * 200 + '"}\n')
    with pytest.raises(RunFormatError, match=r"t\.jsonl .*a line is longer than 100 characters"):
        load_table(tmp_path / "t.jsonl")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_only_the_columns_asked_for_are_read(tmp_path, suffix):
    frame = pd.DataFrame({"a": [1, 2], "b": [3.5, None], "c": ["x", "y"]})
    file = tmp_path / f"t.{suffix}"
    {"csv": lambda: frame.to_csv(file, index=False), "parquet": lambda: frame.to_parquet(file)}.get(
        suffix, lambda: frame.to_json(file, orient="records", lines=True)
    )()
    assert head(file).columns.tolist() == ["a", "b", "c"]
    assert [piece.columns.tolist() for piece in chunks(file, 1, ["b"])] == [["b"], ["b"]]
    table = TableFile.look_through(file, ("b", "c"))
    assert (table.kinds, table.rows, table.width) == ({"b": "float", "c": "text"}, 2, 3)


CELLS = st.sampled_from(["", "1", "2", "0.5", "x", "True", "1e400", "-3", "nan"])


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=12), st.integers(1, 8))
def test_the_types_of_a_column_do_not_depend_on_the_pieces(tmp_path_factory, rows, cells):
    """The twin reads the file at once: it infers one type a column over all rows."""
    file = tmp_path_factory.mktemp("types") / "t.csv"
    file.write_text("a,b\n" + "".join(f'"{a}","{b}"\n' for a, b in rows))
    whole = pd.read_csv(file, low_memory=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_files, "CELLS", cells)
        table = TableFile.look_through(file, ("a", "b"))
        found = pd.concat(list(table.chunks()), ignore_index=True)
    for name in ("a", "b"):
        if table.kinds[name] in ("int", "float"):
            np.testing.assert_array_equal(found[name].to_numpy(float), whole[name].to_numpy(float))
        else:
            assert found[name].isna().tolist() == whole[name].isna().tolist()
            known = whole[name].notna()
            assert found[name][known].astype(str).tolist() == whole[name][known].astype(str).tolist()
