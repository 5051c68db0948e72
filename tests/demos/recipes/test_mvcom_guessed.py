"""Guessed variations: right about most faces, probabilities, and without a trace in the random state."""

from __future__ import annotations

import numpy as np
import torch

from workbench.demos.faces import LEVELS
from workbench.demos.recipes.mvcom.data import draw_data
from workbench.demos.recipes.mvcom.guessed import annotated_faces, guessed_levels
from workbench.demos.trainer import as_pictures


def test_guesses_are_mostly_right_about_people_never_annotated():
    faces = draw_data(100, mislabelled=True).train
    state = torch.get_rng_state()
    found = guessed_levels(as_pictures(faces.images), 100)
    assert torch.equal(state, torch.get_rng_state())
    codes = torch.from_numpy(faces.codes())
    for v, scores in enumerate(found.split([len(levels) for levels in LEVELS.values()], dim=1)):
        torch.testing.assert_close(scores.sum(dim=1), torch.ones(len(faces)))
        assert (scores.argmax(dim=1) == codes[:, v]).float().mean() > 0.85


def test_annotated_faces_are_other_pictures_for_other_seeds_and_hold_every_level():
    first, second = annotated_faces(1), annotated_faces(2)
    assert not np.array_equal(first.images, second.images)
    assert all(set(first.levels[name]) == set(levels) for name, levels in LEVELS.items())
