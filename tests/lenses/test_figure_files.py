"""A figure becomes a file of each kind, or one sentence about what is missing."""

from __future__ import annotations

import plotly.graph_objects as go
import pytest

from workbench.core import ConfigError, MissingDependency
from workbench.lenses import figure_files

FIGURE = go.Figure(go.Scatter(y=[1, 3, 2]), layout={"title": "A <b>title</b>", "height": 300})
needs_engine = pytest.mark.skipif(not figure_files.can_draw(), reason="needs kaleido and a browser")


def test_html_opens_offline():
    text = figure_files.content(FIGURE, "html").decode()
    assert "Plotly.newPlot" in text
    assert "src=" not in text.split("Plotly.newPlot")[0].split("<body>")[1].split("<script")[1].split(">")[0]
    assert len(text) > 1_000_000


@needs_engine
def test_pictures_have_the_size_of_the_figure():
    svg = figure_files.content(FIGURE, "svg").decode()
    assert svg.startswith("<svg")
    assert f'width="{figure_files.WIDTH}"' in svg
    assert 'height="300"' in svg
    png = figure_files.content(FIGURE, "png", scale=2.0)
    assert png.startswith(b"\x89PNG")
    assert (int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")) == (2 * figure_files.WIDTH, 600)


def test_without_the_engine_the_way_out_is_named(monkeypatch):
    monkeypatch.setattr(figure_files, "find_spec", lambda name: None)
    assert not figure_files.can_draw()
    with pytest.raises(MissingDependency, match=r"urlearn-workbench\[figures\]"):
        figure_files.content(FIGURE, "png")
    monkeypatch.setattr(figure_files, "find_spec", lambda name: object())
    monkeypatch.setattr(figure_files, "browser", lambda: None)
    with pytest.raises(ConfigError, match="BROWSER_PATH"):
        figure_files.content(FIGURE, "svg")
    with pytest.raises(ConfigError, match="Known: html, svg, png"):
        figure_files.content(FIGURE, "pdf")
