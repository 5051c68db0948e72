from __future__ import annotations

import time
from pathlib import Path

import pytest

from workbench.core import Run, RunWriter
from workbench.lenses import LENSES
from workbench.lenses import board as boards
from workbench.lenses.board import Board, frame, matching
from workbench.runs import open_runs


def record(folder: Path, **info: object) -> Run:
    with RunWriter(folder, **info) as writer:
        for step in range(100):
            writer.scalars(step, {"loss": 1.0 / (1 + step), "accuracy": float("nan") if step == 3 else step / 100})
    return Run(folder)


def test_an_entry_holds_a_verdict_a_lens_and_the_course_of_the_main_metric(tmp_path: Path):
    made = boards.entry(record(tmp_path / "run"))
    assert list(made.verdicts) == [lens.slug for lens in LENSES]
    assert (made.tag, made.last_step) == ("accuracy", 99)
    assert len(made.sparkline) == boards.SPARK_POINTS
    assert made.sparkline[-1] == pytest.approx(0.985)  # the last bucket holds steps 98 and 99


def test_what_was_read_is_known_to_the_next_board_until_the_run_changes(tmp_path: Path):
    run = record(tmp_path / "run")
    first = Board(tmp_path / "board")
    assert first.known(run) is None
    made = first.read(run)
    later = Board(tmp_path / "board")
    assert later.known(run) == made
    assert later.known(run).fingerprint == run.fingerprint()
    (run.path / "run.json").touch()
    assert later.known(run).fingerprint != run.fingerprint()
    assert later.read(run).fingerprint == run.fingerprint()


def test_entries_of_other_code_or_with_damage_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = record(tmp_path / "run")
    Board(tmp_path / "board").read(run)
    monkeypatch.setattr(boards, "lens_version", lambda: "other code")
    assert Board(tmp_path / "board").known(run) is None
    file = next((tmp_path / "board").iterdir())
    file.write_text("{ cut")
    assert Board(tmp_path / "board").known(run) is None


def test_one_failing_lens_does_not_hide_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(run: Run, lens: object) -> None:
        raise ValueError("broken")

    monkeypatch.setattr(boards, "verdict_of", broken)
    for verdict in boards.entry(record(tmp_path / "run")).verdicts.values():
        assert verdict.level == "cannot tell"
        assert "ValueError: broken" in verdict.sentence


def test_a_process_reads_all_runs_of_a_folder(tmp_path: Path):
    runs = [record(tmp_path / "runs" / name) for name in ("one", "two")]
    board = Board(tmp_path / "board")
    process = board.read_in_background(tmp_path / "runs")
    assert process.wait(timeout=120) == 0
    assert all(board.known(run) is not None for run in runs)


def test_frame_has_a_row_a_run_and_says_what_is_due(tmp_path: Path):
    record(tmp_path / "runs" / "done", question="Why?", seed=3)
    stopped = RunWriter(tmp_path / "runs" / "left-behind")
    old = time.time() - 3600
    import os

    os.utime(stopped.path / "run.json", (old, old))
    board = Board(tmp_path / "board")
    runs = open_runs(tmp_path / "runs")
    board.read(runs["done"])
    rows = frame(runs, board).set_index("run")
    assert rows.loc["done", "state"] == "done"
    assert rows.loc["left-behind", "state"] == "stopped"
    assert rows.loc["left-behind", "age"] == pytest.approx(3600, abs=60)
    assert not rows.loc["done", "due"]
    assert rows.loc["left-behind", "due"]
    assert list(matching(rows.reset_index(), "WHY done")["run"]) == ["done"]
    assert list(matching(rows.reset_index(), states=["stopped"])["run"]) == ["left-behind"]


def test_a_folder_without_runs_has_an_empty_frame_that_can_be_filtered(tmp_path: Path):
    rows = frame(open_runs(tmp_path), Board(tmp_path / "board"))
    assert len(matching(rows, "anything", ["done"])) == 0
