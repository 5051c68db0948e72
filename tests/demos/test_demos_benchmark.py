"""The recipe digit-pairs as a case of the recording benchmark: the recipe's own training, the same in every round."""

from __future__ import annotations

import torch

from workbench.demos.benchmark import DigitPairs
from workbench.demos.recipes.digit_pairs.training import TRAINING
from workbench.diagnostics.benchmark import recording


def test_it_is_the_recipes_training_and_the_same_every_time():
    first, second = DigitPairs().build().losses(), DigitPairs().build().losses()
    assert list(first) == ["left", "right", "parity", "rebuild"]
    assert all(loss.shape == (TRAINING.batch,) for loss in first.values())
    assert all(torch.equal(first[task], second[task]) for task in first)


def test_recording_it_leaves_the_weights_alone_and_is_measured(tmp_path):
    from workbench.diagnostics.recorder import Recorder

    without, recorded = DigitPairs().build(), DigitPairs().build()
    recording._train(without, 4, None)
    with Recorder(tmp_path / "run") as rec:
        recording._train(recorded, 4, rec)
    for plain, watched in zip(without.net.parameters(), recorded.net.parameters(), strict=True):
        assert torch.equal(plain, watched)
    assert rec.recording_seconds > 0
    found = recording.run((DigitPairs(),), steps=3, rounds=2)
    table = recording.markdown(found)
    assert "recipe digit-pairs" in table
    assert len(found[DigitPairs().name].ratios) == 2
