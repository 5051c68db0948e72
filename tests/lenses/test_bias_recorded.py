"""The recorded sample runs: planted causes are named, runs without any stay quiet."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.core import Run
from workbench.lenses.bias import LENS

SAMPLES = Path(__file__).parents[2] / "sample_runs"


def verdicts_of(name):
    if not (SAMPLES / name).exists():
        pytest.skip(f"the sample run '{name}' is not in this checkout")
    return LENS.verdicts(LENS.statistics(Run(SAMPLES / name)))


def test_the_joint_factor_of_the_skewed_digits_is_named_first():
    first = verdicts_of("digit-biases/skewed")[0]
    assert first.level == "problem"
    assert first.sentence.startswith("Samples with rotation = tilted and blur = blurred are predicted right in ")
    assert "below what rotation and blur cost alone" in first.sentence


def test_the_null_run_is_fine():
    assert {verdict.level for verdict in verdicts_of("null/identical")} <= {"fine", "cannot tell"}
