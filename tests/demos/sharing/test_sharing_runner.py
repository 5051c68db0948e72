"""Results are kept, a stopped run goes on, and a child that dies is told."""

from __future__ import annotations

import json

import pytest

from workbench.core import WorkbenchError
from workbench.demos.sharing import truth
from workbench.demos.sharing.problem import Sharing
from workbench.demos.sharing.runner import Item, run
from workbench.demos.sharing.tasks import TaskSpec


def _problem(name: str = "own", n: int = 40) -> Sharing:
    return Sharing(name, "related", {"a": TaskSpec("digit", n=n), "b": TaskSpec("slant", n=n)}, steps=2)


def _items(folder, *problems):
    return [Item(truth.work, problem, {"seeds": (0, 1)}, folder) for problem in problems]


def test_results_are_computed_once_and_in_order(tmp_path):
    items = _items(tmp_path, _problem("second"), _problem("first"))
    seen = []
    found = run(items, progress=lambda done, total: seen.append((done, total)))
    assert [result["problem"] for result in found] == ["second", "first"]
    assert seen[-1][1] == 2
    kept = items[0].file
    kept.write_text(json.dumps({"problem": "kept"}))
    assert run(items)[0] == {"problem": "kept"}


def test_another_problem_or_setting_is_another_file(tmp_path):
    first, second = _items(tmp_path, _problem(n=40), _problem(n=50))
    assert first.file != second.file
    assert first.file != Item(truth.work, _problem(), {"seeds": (0,)}, tmp_path).file
    assert first.file == _items(tmp_path, _problem(n=40))[0].file


def test_a_stop_ends_the_child_and_keeps_what_is_done(tmp_path):
    assert run(_items(tmp_path, _problem()), stop=lambda: True) == []


def test_a_child_that_fails_is_an_error_with_the_way_on(tmp_path, capfd):
    with pytest.raises(WorkbenchError, match="0 of 1 problems.*go on from there"):
        run(_items(tmp_path, _problem(n=100_000)))
    assert "more digits" in capfd.readouterr().err
