"""The figure of concepts."""

from __future__ import annotations

import pandas as pd
import pytest

from workbench.lenses.concept_figure import LOWERS, RAISES, concept_figure
from workbench.lenses.palette import UNKNOWN


def test_concepts_are_sorted_and_coloured_by_what_can_be_told():
    columns = ["concept", "score", "low", "high", "random_low", "random_high", "accuracy", "q_value"]
    rows = [
        ("blur", 0.1, 0.0, 0.3, 0.2, 0.8, 0.9, 0.01),
        ("red", 0.9, 0.8, 0.95, 0.3, 0.7, 0.9, 0.04),
        ("bar", 0.6, 0.2, 0.9, 0.1, 0.9, 0.5, 0.5),
    ]
    fig = concept_figure(pd.DataFrame(rows, columns=columns), "digit 3")
    band, dots = fig.data
    assert list(dots.y) == ["red", "bar", "blur"]
    assert list(dots.marker.color) == [RAISES, UNKNOWN, LOWERS]
    assert list(dots.error_x.array) == pytest.approx([0.05, 0.3, 0.2])
    assert list(band.base) == [0.3, 0.1, 0.2]
    assert "digit 3" in fig.layout.xaxis.title.text
