"""Training what claims compare: order, resuming, failing and stopping, each in real child processes."""

from __future__ import annotations

import sys
import time

import pytest

from workbench.core import ConfigError, RunWriter
from workbench.demos import Claim, Recipe, Variant
from workbench.demos.claims import Order, findings, orders_of, results_at, train_all

VARIANTS = (Variant("ours", "", 1), Variant("plain", "", 1), Variant("unused", "", 1))
CLAIM = Claim("more", "More.", "not reported", "accuracy", "ours", "plain")
RECIPE = Recipe("coin", "?", "", VARIANTS, claims=(CLAIM,), seeds=(7, 8, 9))
SCRIPT = """
import sys, time
from workbench.core import RunWriter
path, value, wait = sys.argv[1:]
with RunWriter(path, name="x", overwrite=True) as run:
    time.sleep(float(wait))
    if value == "none":
        raise SystemExit("no luck today")
    run.scalars(1, {"result/accuracy": float(value)})
"""


@pytest.fixture
def toss(monkeypatch):
    """Makes every order write a small run; set ``values`` per variant and ``wait`` in seconds."""

    class Toss:
        def __init__(self):
            self.values, self.wait = {"ours": "0.75", "plain": "0.5"}, 0.0

    state = Toss()

    def command(order):
        arguments = [str(order.path), state.values[order.variant], str(state.wait)]
        return [sys.executable, "-c", SCRIPT, *arguments]

    monkeypatch.setattr(Order, "command", property(command))
    return state


def test_orders_go_seed_by_seed_and_leave_out_what_no_claim_needs(tmp_path):
    orders = orders_of([RECIPE], tmp_path, seeds=2)
    assert [(order.seed, order.variant) for order in orders] == [(7, "ours"), (7, "plain"), (8, "ours"), (8, "plain")]
    with pytest.raises(ConfigError, match="reports 3 seeds; 4 were asked for"):
        orders_of([RECIPE], tmp_path, seeds=4)


def test_an_order_is_a_command_of_the_terminal(tmp_path):
    command = Order("coin", "ours", 7, tmp_path, short=True).command
    assert command[1:5] == ["-m", "workbench", "train", "coin"]
    assert {"--lean", "--short", "--overwrite"} <= set(command)


def test_results_become_rows_and_done_runs_are_not_trained_again(tmp_path, toss):
    orders = orders_of([RECIPE], tmp_path, seeds=2)
    seen = []
    assert train_all(orders, jobs=2, progress=lambda done, total: seen.append((done, total))) == []
    assert seen[-1] == (4, 4)
    (row,) = findings([RECIPE], orders)
    assert (row.seeds, row.differences) == ((7, 8), (25.0, 25.0))
    written = (orders[0].path / "run.json").stat().st_mtime_ns
    train_all(orders_of([RECIPE], tmp_path, seeds=3))
    assert (orders[0].path / "run.json").stat().st_mtime_ns == written


def test_a_failed_training_says_why_and_the_others_go_on(tmp_path, toss):
    toss.values["plain"] = "none"
    orders = orders_of([RECIPE], tmp_path, seeds=1)
    (failure,) = train_all(orders)
    assert (failure.order.variant, failure.reason) == ("plain", "no luck today")
    assert results_at(orders[0].path) == {"accuracy": 0.75}
    assert findings([RECIPE], orders)[0].seeds == ()


def test_stopping_ends_the_trainings_that_run(tmp_path, toss):
    toss.wait = 60
    begun = time.monotonic()
    orders = orders_of([RECIPE], tmp_path, seeds=1)
    assert train_all(orders, jobs=2, stop=lambda: time.monotonic() > begun + 3) == []
    assert time.monotonic() - begun < 30
    assert [results_at(order.path) for order in orders] == [{}, {}]


def test_a_run_that_is_not_done_has_no_results(tmp_path):
    with RunWriter(tmp_path / "a", name="a") as run:
        run.scalars(0, {"result/accuracy": 1.0})
        run.flush()
        assert results_at(tmp_path / "a") == {}
    assert results_at(tmp_path / "a") == {"accuracy": 1.0}
    assert results_at(tmp_path / "missing") == {}
