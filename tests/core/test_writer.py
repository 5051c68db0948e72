"""RunWriter: what is written is read back, and nothing it does can hurt a training."""

from __future__ import annotations

import errno
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from workbench.core import ConfigError, Gramian, Run, RunWriter

SAMPLES = {
    "sample": np.arange(4),
    "domain": ["a", "a", "b", "b"],
    "split": "test",
    "target_digit": [1, 2, 3, 4],
    "colour": ["red", "green", "red", "green"],
    "thumbnail": [b"1", b"22", b"333", b"4444"],
}


def test_scalars_come_back_in_order_with_nan(tmp_path):
    with RunWriter(tmp_path / "run") as rec:
        for step in range(5):
            rec.scalars(step, {"loss/a": float("nan") if step == 3 else step / 2, "loss/b": np.float32(step)})
    table = Run(tmp_path / "run").table("scalars")
    assert table["step"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert table["tag"].tolist() == ["loss/a", "loss/b"] * 5
    np.testing.assert_equal(table.query("tag == 'loss/a'")["value"].to_numpy(), [0, 0.5, 1, np.nan, 2])


def test_samples_keep_targets_attributes_and_thumbnails(tmp_path):
    with RunWriter(tmp_path / "run", attributes=["colour"], domains=["a", "b"], tasks=["digit"]) as rec:
        rec.samples(SAMPLES)
    table = Run(tmp_path / "run").table("samples")
    assert table["target_digit"].tolist() == [1, 2, 3, 4]
    assert table["colour"].tolist() == SAMPLES["colour"]
    assert [bytes(item) for item in table["thumbnail"]] == SAMPLES["thumbnail"]
    assert set(table["dataset"]) == {""}


@given(
    dot=hnp.arrays(np.float64, (2, 2, 3, 2, 3), elements=st.floats(-1e6, 1e6)),
    step=st.integers(0, 10**6),
)
def test_a_gramian_is_read_back_to_the_last_bit(tmp_path_factory, dot, step):
    dot = (dot + dot.transpose(0, 3, 4, 1, 2)) / 2
    path = tmp_path_factory.mktemp("gramian") / "run"
    samples = np.array([[8, 8, 7], [8, 8, 7]])
    with RunWriter(path, tasks=["a", "b"], modules=["first", "second"]) as rec:
        rec.gramian(step, Gramian(("first", "second"), ("a", "b"), dot, samples))
    back = Run(path).gramians()
    assert list(back) == [step]
    np.testing.assert_array_equal(back[step].dot, dot)
    np.testing.assert_array_equal(back[step].samples, samples)
    assert back[step].modules == ("first", "second")


def test_embeddings_come_back_with_their_samples(tmp_path):
    values = np.arange(12, dtype=np.float16).reshape(4, 3)
    with RunWriter(tmp_path / "run") as rec:
        rec.embedding(7, "block/1:out", values, np.array([9, 3, 5, 1]))
    run = Run(tmp_path / "run")
    got, samples = run.embedding("block/1:out", 7)
    np.testing.assert_array_equal(got, values)
    assert samples.tolist() == [9, 3, 5, 1]
    assert run.info.layers == ("block/1:out",)
    assert run.array_steps("embeddings.block/1:out") == [7]


@pytest.mark.parametrize("name", ["../../escape", "/etc/passwd", "..", "a/../../b", "con:trol\n"])
def test_array_names_cannot_leave_the_run(tmp_path, name):
    with RunWriter(tmp_path / "run") as rec:
        rec.array(name, 0, {"x": np.ones(2)})
    written = list(tmp_path.rglob("*.safetensors"))
    assert len(written) == 1
    assert written[0].resolve().is_relative_to((tmp_path / "run" / "arrays").resolve())
    assert Run(tmp_path / "run").array(name, 0)["x"].tolist() == [1, 1]


def test_an_exception_in_the_loop_keeps_the_record_and_goes_on(tmp_path):
    with pytest.raises(ZeroDivisionError), RunWriter(tmp_path / "run") as rec:
        rec.scalars(0, {"loss": 1.0})
        1 / 0  # noqa: B018
    run = Run(tmp_path / "run")
    assert run.info.status == "failed"
    assert run.table("scalars")["value"].tolist() == [1.0]


def test_a_reader_sees_flushed_rows_while_writing_goes_on(tmp_path):
    with RunWriter(tmp_path / "run", flush_seconds=0) as rec:
        rec.scalars(0, {"loss": 1.0})
        run = Run(tmp_path / "run")
        before = run.fingerprint()
        assert run.is_live
        assert len(run.table("scalars")) == 1
        rec.scalars(1, {"loss": 0.5})
        assert len(run.table("scalars")) == 2
        assert run.fingerprint() != before
    assert not Run(tmp_path / "run").is_live


def test_nothing_is_on_disk_before_the_flush_interval(tmp_path):
    rec = RunWriter(tmp_path / "run", flush_seconds=1e6)
    rec.scalars(0, {"loss": 1.0})
    assert not Run(tmp_path / "run").has("scalars")
    rec.flush()
    assert Run(tmp_path / "run").has("scalars")
    rec.close()


def test_a_full_disk_warns_once_and_the_training_goes_on(tmp_path, monkeypatch):
    rec = RunWriter(tmp_path / "run", flush_seconds=0)
    monkeypatch.setattr(
        "workbench.core.writer.pq.ParquetWriter",
        lambda *args, **more: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")),
    )
    with pytest.warns(RuntimeWarning, match="No space left on device.*Training goes on") as caught:
        for step in range(3):
            rec.scalars(step, {"loss": 1.0})
        rec.close()
    assert len(caught) == 1
    assert list((tmp_path / "run").rglob("*.tmp")) == []


def test_an_existing_run_is_not_overwritten_by_accident(tmp_path):
    with RunWriter(tmp_path / "run") as rec:
        rec.scalars(0, {"loss": 1.0})
    (tmp_path / "run" / "mine.txt").write_text("keep")
    with pytest.raises(ConfigError, match=r"already holds a run.*overwrite=True"):
        RunWriter(tmp_path / "run")
    with RunWriter(tmp_path / "run", overwrite=True) as rec:
        rec.scalars(0, {"loss": 2.0})
    assert Run(tmp_path / "run").table("scalars")["value"].tolist() == [2.0]
    assert (tmp_path / "run" / "mine.txt").read_text() == "keep"


@pytest.mark.parametrize(
    ("table", "columns", "message"),
    [
        ("scalar", {}, "no table 'scalar'.*scalars"),
        ("scalars", {"step": 0, "tag": "a", "value": 1.0}, "needs the column 'wall_time'"),
        ("scalars", {"step": 0, "tag": ["a", "b"], "value": [1.0], "wall_time": 0.0}, "differ in length"),
        (
            "scalars",
            {"step": 0, "tag": "a", "value": ["high"], "wall_time": 0.0},
            "Column 'value' of 'scalars'.*'float'",
        ),
    ],
)
def test_mistakes_in_the_arguments_are_named(tmp_path, table, columns, message):
    with RunWriter(tmp_path / "run") as rec, pytest.raises(ConfigError, match=message):
        rec.write(table, columns)


def test_unknown_fields_and_repeated_names_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="no field 'learning_rate'.*config="):
        RunWriter(tmp_path / "a", learning_rate=0.1)
    with pytest.raises(ConfigError, match="repeated: left"):
        RunWriter(tmp_path / "b", tasks=["left", "left"])
    with pytest.raises(ConfigError, match="cannot be called 'split'"):
        RunWriter(tmp_path / "c", attributes=["split"])


def test_run_json_is_plain_json_with_a_version(tmp_path):
    with RunWriter(tmp_path / "run", seed=3, config={"lr": np.float64(0.1), "path": tmp_path}) as rec:
        rec.update(summary={"accuracy": np.float32(0.5)})
    data = json.loads((tmp_path / "run" / "run.json").read_text())
    assert data["schema_version"] == 1
    assert data["config"]["lr"] == 0.1
    assert data["status"] == "done"
    assert Run(tmp_path / "run").info.summary == {"accuracy": 0.5}
