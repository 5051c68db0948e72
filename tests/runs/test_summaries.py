"""Histograms, pictures and text of event files: what the clients wrote comes back; damage is counted, not raised."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from workbench import open_run
from workbench.core import RunWriter, validate
from workbench.lenses import gallery, histograms
from workbench.runs import summaries, tfevents
from workbench.runs.protobuf import fields


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path / "cache"))


@pytest.mark.clients
def test_what_the_pytorch_writer_wrote_comes_back(tmp_path):
    pytest.importorskip("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    rng = np.random.default_rng(0)
    drawn = {step: rng.normal(step, 1 + step, size=20_000) for step in (0, 1, 2)}
    with SummaryWriter(str(tmp_path / "log")) as writer:
        for step, values in drawn.items():
            writer.add_histogram("layer/weights", values, step)
            writer.add_image("net/maps", np.full((3, 8, 16), step * 100, np.uint8), step)
            writer.add_images("many", np.zeros((2, 3, 4, 4), np.uint8), step)
            writer.add_text("said", f"step *{step}*", step)
            writer.add_scalar("loss", 1 / (step + 1), step)
        writer.add_hparams({"lr": 0.1, "net": "small", "deep": True}, {"best": 1.0}, run_name=".")
    run = open_run(tmp_path / "log")
    assert set(run.tables) == {"scalars", "histograms", "images", "texts"}
    assert run.info.config == {"lr": 0.1, "net": "small", "deep": True}
    assert run.table("texts")["text"].tolist() == ["step *0*", "step *1*", "step *2*"]
    stats = histograms.statistics(run)
    assert stats.tag == "layer/weights"
    assert stats.steps.tolist() == [0, 1, 2]
    for step, row in zip(drawn, stats.quantiles, strict=True):
        exact = np.quantile(drawn[step], histograms.QUANTILES)
        np.testing.assert_allclose(row[[0, -1]], exact[[0, -1]], rtol=1e-6)
        np.testing.assert_allclose(row, exact, atol=0.25 * (1 + step))  # bins of the client grow by a tenth
    counts = run.query("SELECT list_sum(counts) AS n FROM histograms")["n"].tolist()
    assert counts == [20_000.0] * 3
    assert gallery.image_tags(run) == {"many": [0, 1, 2], "net/maps": [0, 1, 2]}
    (picture,) = gallery.logged_images(run, "net/maps", 2)
    with Image.open(io.BytesIO(picture)) as image:
        assert image.size == (16, 8)
        assert image.getpixel((0, 0))[:3] == (200, 200, 200)
    assert run.problems == []
    assert validate(run.path) == []


def test_quantiles_of_even_bins_are_exact():
    found = histograms.quantiles(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 4.0, 0.0]))
    np.testing.assert_allclose(found, [1.0, 1.05, 1.25, 1.5, 1.75, 1.95, 2.0])
    assert np.isnan(histograms.quantiles(np.array([0.0, 1.0]), np.array([0.0]))).all()
    assert np.isnan(histograms.quantiles(np.array([0.0]), np.array([1.0]))).all()


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=20), st.lists(st.integers(0, 1000), min_size=20, max_size=20))
def test_quantiles_rise_and_stay_inside_the_edges(widths, counts):
    counts = np.array(counts[: len(widths)], float)
    edges = np.concatenate([[0.0], np.cumsum(widths)])
    found = histograms.quantiles(edges, counts)
    if counts.sum() == 0:
        assert np.isnan(found).all()
    else:
        assert (np.diff(found) >= 0).all()
        assert edges[0] <= found[0] <= found[-1] <= edges[-1]


def test_one_step_is_drawn_as_bars_and_several_as_bands(tmp_path):
    with RunWriter(tmp_path / "run") as rec:
        for step in range(3):
            rec.write("histograms", {"step": step, "tag": "a", "edges": [[0.0, 1.0, 3.0]], "counts": [[1.0, step]]})
        rec.write("histograms", {"step": 5, "tag": "b", "edges": [[0.0, 1.0]], "counts": [[7.0]]})
    run = open_run(tmp_path / "run")
    assert histograms.figure(histograms.statistics(run, "b")).data[0].type == "bar"
    lines = histograms.figure(histograms.statistics(run, "a")).data
    assert {trace.name for trace in lines} >= {"median", "middle 50 %", "middle 90 %"}


def test_pictures_are_thinned_evenly_and_large_or_odd_ones_left_out(tmp_path):
    png = b"\x89PNG\r\n\x1a\n" + b"x"
    with RunWriter(tmp_path / "run") as writer:
        found = summaries.Summaries(writer)
        found.take(
            [_image(step, png) for step in range(100)] + [_image(1, b"<svg/>"), _image(2, png + bytes(5_000_000))]
        )
        notes = found.finish()
    steps = open_run(tmp_path / "run").table("images")["step"].to_numpy()
    assert summaries.MOST_STEPS <= len(steps) <= 2 * summaries.MOST_STEPS
    assert len(set(np.diff(steps))) == 1
    assert notes[1] == "2 unreadable or too large image summaries are not shown."
    assert gallery.logged_images(open_run(tmp_path / "run"), "p", int(steps[0])) == []  # a PNG's first bytes only


def _image(step: int, content: bytes) -> tfevents.Value:
    inner = b"\x22" + _varint(len(content)) + content
    return tfevents.Value(step, 0.0, "p", {4: [inner]})


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


@given(st.dictionaries(st.integers(4, 9), st.lists(st.binary(max_size=60), min_size=1, max_size=2)), st.data())
def test_any_fields_are_taken_or_counted(tmp_path_factory, content, data):
    if data.draw(st.booleans()):
        doubles = data.draw(st.lists(st.floats(), max_size=5))
        packed = struct.pack(f"<{len(doubles)}d", *doubles)
        content[5] = [b"\x09" + struct.pack("<d", data.draw(st.floats())) + b"\x32" + _varint(len(packed)) + packed]
    with RunWriter(tmp_path_factory.mktemp("run") / "run") as writer:
        found = summaries.Summaries(writer)
        found.take([tfevents.Value(0, 0.0, "t", content)])
        assert isinstance(found.finish(), list)


def test_a_tensor_of_the_histograms_plugin_is_read():
    rows = np.array([[0.0, 1.0, 0.0], [1.0, 2.0, 5.0], [2.0, 4.0, 3.0]])
    shape = b"".join(b"\x12\x02\x08" + bytes([size]) for size in rows.shape)
    proto = b"\x08\x02\x12" + bytes([len(shape)]) + shape + b"\x22" + bytes([rows.nbytes]) + rows.tobytes()
    metadata = b"\x0a\x0c\x0a\x0ahistograms"
    value = tfevents.Value(3, 0.0, "h", {8: [proto], 9: [metadata]})
    assert fields(proto)
    assert summaries.kind_of(value) == "histograms"
    assert summaries.histogram(value) == ([1.0, 2.0, 4.0], [5.0, 3.0])
