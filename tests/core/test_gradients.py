"""Task gradients of a large record are found by the notes in its parts, and only what is asked for is read."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from workbench.core import Run, RunWriter, gradients
from workbench.core.gramian import Gramian

MODULES, TASKS = ("trunk", "top"), ("a", "b", "c")


@pytest.fixture
def run(tmp_path):
    """Six steps in three parts; task b is not finite at step 30."""
    rng = np.random.default_rng(0)
    with RunWriter(tmp_path / "run", tasks=["c", "b", "a"], flush_seconds=1e9) as writer:
        for step in range(0, 60, 10):
            vectors = rng.standard_normal((2, 3, 2, 5))
            if step == 30:
                vectors[:, 1] = np.nan
            dot = np.einsum("mikp,mjlp->mikjl", vectors, vectors)
            writer.gramian(step, Gramian(MODULES, TASKS, dot, np.full((3, 2), 7)))
            if step % 20:
                writer.flush()
    return Run(tmp_path / "run")


def without_notes(run: Run) -> Run:
    for part in run.parts("task_gradients"):
        pq.write_table(pq.read_table(part).replace_schema_metadata(None), part)
    return Run(run.path)


def test_notes_say_what_a_look_through_finds(run):
    noted = [gradients.index_of(part) for part in run.parts("task_gradients")]
    assert [index.steps for index in noted] == [(0, 10), (20, 30), (40, 50)]
    assert noted[1].nonfinite == {"b": (30,)}
    said = run.gramian_axes(), run.gramian_steps(), run.nonfinite_gradients()
    assert said == ((MODULES, ("c", "b", "a"), 2), [0, 10, 20, 30, 40, 50], {"b": 1})
    plain = without_notes(run)
    assert (plain.gramian_axes(), plain.gramian_steps(), plain.nonfinite_gradients()) == said
    assert [gradients.index_of(part) for part in plain.parts("task_gradients")] == noted


def test_a_note_that_does_not_fit_its_rows_is_not_believed(run):
    part = run.parts("task_gradients")[0]
    rows = pq.read_table(part)
    pq.write_table(rows.slice(0, rows.num_rows // 2), part)  # keeps the old note
    assert gradients.index_of(part).steps == (0,)


def test_only_parts_with_the_steps_are_opened(run, monkeypatch):
    whole = run.gramians()
    opened = []
    real = gradients._batches
    monkeypatch.setattr(gradients, "_batches", lambda part, wanted: opened.append(part.name) or real(part, wanted))
    found = run.gramians([50, 20])
    assert list(found) == [20, 50]
    assert opened == ["part-000002.parquet", "part-000003.parquet"]
    for step, gramian in found.items():
        np.testing.assert_array_equal(gramian.dot, whole[step].dot)
        np.testing.assert_array_equal(gramian.samples, np.full((3, 2), 7))
    assert run.gramians([5]) == {}
