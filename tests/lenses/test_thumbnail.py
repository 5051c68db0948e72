from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from workbench.lenses.thumbnail import MAX_POINTS, thumbnail


def test_words_go_and_the_picture_stays():
    fig = go.Figure(go.Heatmap(z=[[1, 2], [3, 4]], texttemplate="%{z}", colorbar_title="cosine"))
    fig.update_layout(title="Cosines", xaxis_title="task", annotations=[{"text": "note"}])
    small = thumbnail(fig, height=100)
    assert small.data[0].z == ((1, 2), (3, 4)) or np.array_equal(small.data[0].z, [[1, 2], [3, 4]])
    assert (small.data[0].showscale, small.data[0].texttemplate) == (False, None)
    assert (small.layout.title.text, small.layout.xaxis.title.text, small.layout.height) == (None, None, 100)
    assert small.layout.annotations == ()
    assert not small.layout.xaxis.showticklabels


def test_the_figure_itself_is_left_alone():
    fig = go.Figure(go.Scatter(x=[1, 2], y=[3, 4], mode="markers+text", text=["a", "b"]), layout={"title": "Map"})
    before = fig.to_json()
    small = thumbnail(fig)
    assert small.data[0].mode == "markers"
    assert fig.to_json() == before


def test_clouds_are_thinned_evenly_and_leave_webgl():
    n = 5000
    fig = go.Figure(go.Scattergl(x=np.arange(n), y=np.arange(n), mode="markers", marker={"color": np.arange(n)}))
    small = thumbnail(fig)
    assert small.data[0].type == "scatter"
    assert len(small.data[0].x) == len(small.data[0].marker.color) == MAX_POINTS
    assert (small.data[0].x[0], small.data[0].x[-1]) == (0, n - 1)


def test_lines_keep_all_their_points_and_hidden_traces_go():
    line = go.Scatter(x=np.arange(2000), y=np.arange(2000), mode="lines")
    hidden = go.Scatter(x=[1], y=[1], visible="legendonly")
    small = thumbnail(go.Figure([line, hidden]))
    assert len(small.data) == 1
    assert len(small.data[0].x) == 2000
