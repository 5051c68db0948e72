"""What is exported is what was recorded."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from workbench.core import ConfigError, MissingTable, Run, RunWriter
from workbench.runs import tfevents
from workbench.runs.export import export


@pytest.fixture
def run(tmp_path) -> Run:
    with RunWriter(tmp_path / "run", attributes=["colour"]) as rec:
        for step in (0, 7, 2**33):
            rec.scalars(step, {"loss": 1 / (step + 1), "größe": float("nan")})
        rec.samples({"sample": [0, 1], "colour": ["r", "g"], "thumbnail": [b"1", b"2"]})
    return Run(tmp_path / "run")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tables_come_back(run, tmp_path, kind):
    files = export(run, tmp_path / "out", kind)
    assert {file.name for file in files} == {f"scalars.{kind}", f"samples.{kind}"}
    read = pd.read_csv if kind == "csv" else pd.read_parquet
    pd.testing.assert_frame_equal(read(tmp_path / "out" / f"scalars.{kind}"), run.table("scalars"), check_dtype=False)
    assert read(tmp_path / "out" / f"samples.{kind}")["colour"].tolist() == ["r", "g"]


def test_scalars_are_read_by_tensorboard_readers(run, tmp_path):
    (file,) = export(run, tmp_path / "out", "tensorboard")
    events = tfevents.parse(file.read_bytes())
    assert events.problems == []
    assert events.scalars.step.tolist() == [0, 0, 7, 7, 2**33, 2**33]
    np.testing.assert_array_equal(events.scalars.value[::2], np.float32([1, 1 / 8, 1 / (2**33 + 1)]))
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs tensorboard"
    )
    theirs = accumulator.EventAccumulator(str(tmp_path / "out"), size_guidance={"scalars": 0})
    theirs.Reload()
    assert [event.step for event in theirs.Scalars("größe")] == [0, 7, 2**33]


def test_mistakes_are_named(run, tmp_path):
    with pytest.raises(ConfigError, match="Known: csv, parquet, tensorboard"):
        export(run, tmp_path / "out", "xls")
    with pytest.raises(MissingTable, match="no table 'gsnr'"):
        export(run, tmp_path / "out", "csv", ["gsnr"])
