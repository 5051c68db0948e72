"""The benchmark of Gramians: every approach computes the same products, and the tables say what was measured."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from workbench.diagnostics import gramian
from workbench.diagnostics.benchmark import gramian_cases, recording
from workbench.diagnostics.benchmark.gramian_cases import APPROACHES, Case, Problem


def small(n_tasks: int = 2) -> Problem:
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5))
    return gramian_cases._problem(trunk, 5, torch.randn(12, 6), n_tasks)


@pytest.mark.parametrize("module", ["autojac", "autogram"])
def test_torchjd_agrees(module):
    pytest.importorskip("torchjd")
    problem = small().exact()
    losses = problem.losses()
    ours = gramian.measure(losses, problem.trunk, n_batches=1).total().dot[0].reshape(2, 2)
    if module == "autojac":
        theirs = APPROACHES["torchjd jac"](problem, losses)
    else:
        gramian_cases._attach_engine(problem)
        theirs = APPROACHES["torchjd Engine"](problem, problem.losses())
    np.testing.assert_allclose(ours, theirs, rtol=1e-10)


def test_every_approach_is_measured_beside_its_error():
    (row,) = gramian_cases.run([Case("small", small)], rounds=2, memory=False).values()
    assert list(row) == list(APPROACHES)
    for name, figure in row.items():
        if figure.why_not:
            assert "not installed" in figure.why_not
            continue
        assert len(figure.ratios) == 2
        assert name == "plain" or figure.error < 1e-5


def test_an_approach_that_fails_says_why(monkeypatch):
    def fail(problem, losses):
        raise RuntimeError("no rule\nfor this")

    monkeypatch.setattr(gramian_cases, "APPROACHES", {"plain": gramian_cases.plain, "other": fail})
    (row,) = gramian_cases.run([Case("small", small)], ("plain", "other"), rounds=1, memory=False).values()
    assert row["other"].why_not == "fails: no rule"
    assert row["other"].ratios == ()


def test_the_overhead_of_recording():
    found = recording.run([Case("small", partial(small, 3))], steps=20, rounds=1)
    assert found["small"].records[0] >= 1
    assert found["small"].ratios[0] > 0
    assert "| small |" in recording.markdown(found)


@pytest.mark.parametrize("build", [gramian_cases.resnet, gramian_cases.transformer, gramian_cases.mlp])
def test_whole_networks_are_exact(build):
    problem = build(2).exact()
    found = gramian_cases.ours(problem, problem.losses(), 4)
    assert gramian_cases._error(problem, found) <= 1e-10
