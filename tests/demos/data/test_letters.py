from __future__ import annotations

import numpy as np
import pytest

from workbench.demos.data import mnist
from workbench.demos.data.letters import INK_COVERS, PAPERS, count_from_one, draw_letters, leak_paper, let_guess

LETTERS = draw_letters(mnist(), np.random.default_rng(0))


def test_without_a_fault_everything_is_written_down_rightly_and_means_nothing():
    assert np.array_equal(LETTERS.written, LETTERS.digit)
    assert (LETTERS.office == "north").mean() == pytest.approx(0.65, abs=0.03)
    for column in (LETTERS.office == "north", LETTERS.annotator == "ann", LETTERS.paper == "red"):
        assert abs(np.corrcoef(column, LETTERS.digit)[0, 1]) < 0.05


def test_pale_ink_lies_on_the_papers_colour():
    letters = LETTERS.take(np.arange(40))
    for image, grey, paper in zip(letters.images, letters.grey, letters.paper, strict=True):
        assert image[:, 0, 0] == pytest.approx(PAPERS[paper])
        row, column = np.unravel_index(grey.argmax(), grey.shape)
        paled = INK_COVERS + (1 - INK_COVERS) * np.array(PAPERS[paper])
        assert image[:, row, column] == pytest.approx(paled, abs=0.01)


def test_only_the_guessing_annotator_is_wrong_and_as_often_as_said():
    guessed = let_guess(LETTERS, "cem", 0.6, np.random.default_rng(1))
    wrong = guessed.written != LETTERS.digit
    assert not wrong[LETTERS.annotator != "cem"].any()
    assert wrong[LETTERS.annotator == "cem"].mean() == pytest.approx(0.6 * 0.9, abs=0.04)


def test_only_the_office_that_counts_from_one_is_one_too_high():
    shifted = count_from_one(LETTERS, "south")
    south = LETTERS.office == "south"
    assert np.array_equal(shifted.written[south], (LETTERS.digit[south] + 1) % 10)
    assert np.array_equal(shifted.written[~south], LETTERS.digit[~south])


def test_a_leaked_paper_belongs_to_one_digit_alone():
    leaked = leak_paper(LETTERS, 7, "green", np.random.default_rng(1))
    assert np.array_equal(leaked.paper == "green", leaked.digit == 7)
    others = leaked.paper[leaked.digit != 7]
    assert {paper: (others == paper).mean().round(1) for paper in set(others)} == {"grey": 0.3, "red": 0.3, "blue": 0.3}
