"""The benchmark of the conflict page draws a record of the size asked for, and times opening and changing it."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from workbench.cli import main
from workbench.core import validate
from workbench.lenses.conflict import benchmark
from workbench.lenses.conflict.benchmark import Size, build


def test_the_record_has_the_size_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "PART_ROWS", 400)
    size = Size(3, 4, 11, batches=2)
    run = build(tmp_path / "run", size)
    assert validate(tmp_path / "run") == []
    assert len(run.parts("task_gradients")) > 1
    assert run.gramian_steps() == list(range(11))
    modules, tasks, n_batches = run.gramian_axes()
    assert (len(modules), len(tasks), n_batches) == (4, 3, 2)
    assert int(run.query("SELECT count(*) AS n FROM task_gradients")["n"][0]) == 11 * size.per_step


def test_opening_and_changing_are_timed(monkeypatch):
    found = benchmark.run([Size(3, 4, 8)], rounds=1)
    ((name, row),) = found.items()
    assert name == "3 × 4 × 8 × 4"
    assert row["steps read"] == 8
    assert all(row[key] > 0 for key in (benchmark.FIRST, benchmark.AGAIN, benchmark.CHANGE, benchmark.VIEW, "bytes"))
    assert "| 3 × 4 × 8 × 4 |" in benchmark.markdown(found)


def test_the_command_takes_sizes():
    done = CliRunner().invoke(main, ["bench", "pages", "--size", "2x3x6", "--rounds", "2"])
    assert done.exit_code == 0, done.output
    assert "| 2 × 3 × 6 × 4 |" in done.stdout


@pytest.mark.parametrize("size", ["40", "axbxc", "0x1x1"])
def test_a_size_that_cannot_be_read_is_refused(size):
    done = CliRunner().invoke(main, ["bench", "pages", "--size", size])
    assert done.exit_code == 2
    assert "40x200x1000" in done.output
