"""Pockets of failures in the embedding: a planted one is found and confirmed, none is found where there is none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from workbench.core import Run, RunWriter
from workbench.lenses.bias.pockets import find_pockets
from workbench.lenses.bias.sample_metrics import ACCURACY, LOSS


def planted(tmp_path, seed=0, n=1200, strength=0.7, name="run", colour_follows=False):
    """Two blobs, one a colour; 7 % of both lie aside, and only these are wrong with probability ``strength``."""
    rng = np.random.default_rng(seed)
    colour = rng.integers(2, size=n)
    z = rng.normal(size=(n, 6))
    z[:, 0] += 4 * colour
    hidden = rng.random(n) < 0.07
    z[hidden, 1] += 4
    bad = colour == 1 if colour_follows else hidden
    right = rng.random(n) > np.where(bad, strength, 0.1)
    with RunWriter(tmp_path / name, layers=("trunk", "embed")) as writer:
        writer.embedding(0, "trunk", rng.normal(size=(n, 3)).astype(np.float32), np.arange(n))
        writer.embedding(50, "embed", z.astype(np.float32), np.arange(n))
    values = pd.DataFrame(
        {"sample": np.arange(n), "value": right.astype(float), "colour": np.array(["red", "blue"])[colour]}
    )
    return Run(tmp_path / name), values, hidden


def test_a_planted_pocket_is_found_confirmed_and_not_described(tmp_path):
    run, values, hidden = planted(tmp_path)
    found = find_pockets(run, values, {"colour": "colour"}, ACCURACY, step=60)
    assert (found.layer, found.step) == ("embed", 50)
    worst = found.found.iloc[0]
    assert worst.confirmed
    assert not worst.described
    assert worst.high < worst.rest
    assert hidden[list(worst.samples)].mean() > 0.6
    assert set(found.points.loc[found.points["pocket"] == 1, "sample"]) >= set(worst.samples)


def test_a_failure_that_an_attribute_explains_is_called_described(tmp_path):
    run, values, _ = planted(tmp_path, colour_follows=True)
    found = find_pockets(run, values, {"colour": "colour"}, ACCURACY, step=60).found
    confirmed = found[found["confirmed"]]
    assert len(confirmed)
    assert (confirmed["typical"] == "colour: blue").all()
    assert confirmed["described"].mean() > 0.7


def test_losses_are_searched_too(tmp_path):
    run, values, hidden = planted(tmp_path)
    rng = np.random.default_rng(1)
    values["value"] = rng.exponential(np.where(hidden, 3.0, 0.5))
    worst = find_pockets(run, values, {}, LOSS, step=60).found.iloc[0]
    assert worst.confirmed
    assert worst.gap > 0


def test_without_a_pocket_few_are_confirmed(tmp_path):
    confirmed = 0
    for seed in range(40):
        run, values, _ = planted(tmp_path, seed=seed, n=400, strength=0.1, name=str(seed))
        confirmed += bool(find_pockets(run, values, {"colour": "colour"}, ACCURACY, 60).found["confirmed"].any())
    assert confirmed <= 6  # 5 % of 40 expected; above 6 has a probability of 0.3 %


@pytest.mark.parametrize("n", [0, 50])
def test_too_few_samples_or_no_embedding_find_nothing(tmp_path, n):
    run, values, _ = planted(tmp_path, n=max(n, 1))
    assert find_pockets(run, values, {}, ACCURACY, 60) is None
    RunWriter(tmp_path / "bare").close()
    assert find_pockets(Run(tmp_path / "bare"), values, {}, ACCURACY, 60) is None


def test_a_constant_embedding_finds_nothing(tmp_path):
    with RunWriter(tmp_path / "flat") as writer:
        writer.embedding(0, "embed", np.ones((300, 4), dtype=np.float32), np.arange(300))
    values = pd.DataFrame({"sample": np.arange(300), "value": np.tile([0.0, 1.0], 150)})
    assert find_pockets(Run(tmp_path / "flat"), values, {}, ACCURACY, 0) is None
