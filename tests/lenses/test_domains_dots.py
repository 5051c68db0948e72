import json

import numpy as np
import pytest
from domains_runs import write_run
from hypothesis import given
from hypothesis import strategies as st

from workbench.lenses import palette
from workbench.lenses.domains import map_figure
from workbench.lenses.domains.dots import dots_of, enclosed
from workbench.lenses.domains.statistics import statistics


@pytest.fixture(scope="module")
def stats(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dots") / "run"
    return statistics(write_run(folder, shifts={"a": 0.0, "b": 3.0}, held_out=("b",), steps=(0,)), permutations=19)


def unpacked(content: bytes):
    """Read as the browser does."""
    length = int(np.frombuffer(content, "<u4", 1)[0])
    header, at, found = json.loads(content[4 : 4 + length]), 4 + length, {}
    kinds = {"x": "<f4", "y": "<f4", "sample": "<f8", "group": "<u2", "tint": "<u2", "marks": "u1"}
    for name, kind in kinds.items():
        at += -at % 8
        found[name] = np.frombuffer(content, kind, header["n"], at)
        at += found[name].nbytes
    return header, found


@pytest.mark.parametrize("colour", ["domain", "class", "size"])
def test_dots_are_the_points_of_the_figure(stats, colour):
    layout = stats.clouds.layout("trunk", 0)
    selected = layout.points.sample[::9].tolist()
    header, found = unpacked(dots_of(stats, layout, colour, selected).packed())
    fig = map_figure(stats, colour=colour)
    assert header["names"] == [trace.name for trace in fig.data]
    assert header["axes"] == [fig.layout.xaxis.title.text, fig.layout.yaxis.title.text]
    for place, trace in enumerate(fig.data):
        rows = found["group"] == place
        assert found["sample"][rows].tolist() == list(trace.customdata)
        assert found["x"][rows] == pytest.approx(trace.x)
        assert found["y"][rows] == pytest.approx(trace.y)
        assert ((found["marks"][rows] & 1) == (trace.marker.opacity < 0.5)).all()
        if colour != "size":
            assert header["colours"][place] == trace.marker.color
            assert (found["tint"][rows] == place).all()
    assert set(found["sample"][found["marks"] >= 2]) == set(selected)


def test_a_column_of_numbers_runs_through_the_scale(stats):
    dots = dots_of(stats, stats.clouds.layout("trunk", 0), "size")
    size = stats.samples.loc[dots.sample, "size"].to_numpy()
    assert dots.scale == pytest.approx((size.min(), size.max()))
    assert (np.diff(dots.tint[np.argsort(size)]) >= 0).all()
    assert (dots.tint.min(), dots.tint.max()) == (0, len(dots.colours) - 1)
    assert dots.colours[0] == "#440154"  # where Viridis begins
    assert dots_of(stats, stats.clouds.layout("trunk", 0)).colours == palette.CATEGORICAL[:2]


@given(st.integers(0, 200))
def test_what_a_loop_encloses_agrees_with_scikit_image(seed):
    from skimage.measure import points_in_poly

    rng = np.random.default_rng(seed)
    polygon, xy = rng.normal(size=(rng.integers(3, 40), 2)), rng.normal(size=(200, 2))
    assert (enclosed(polygon, xy) == points_in_poly(xy, polygon)).all()


def test_a_square_encloses_its_inside():
    square = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    assert enclosed(square, np.array([[0.5, 0.5], [1.5, 0.5], [-0.1, 0.2], [0.9, 0.99]])).tolist() == [1, 0, 0, 1]
