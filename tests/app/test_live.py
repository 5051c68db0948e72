"""A run that is being written shows that it is, and shows what arrives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from streamlit.testing.v1 import AppTest

from workbench.core import RunWriter


def test_a_live_run_is_marked_and_shows_what_arrives(open_app: Callable[..., AppTest], tmp_path: Path):
    with RunWriter(tmp_path / "runs" / "live", flush_seconds=0) as writer:
        writer.scalars(0, {"loss/left": 1.0})
        app = open_app(tmp_path / "runs").switch_page("views/overview.py").run()
        assert not app.exception
        assert any("recording" in element.value for element in app.markdown)
        assert app.pills(key="panels").options == ["loss"]
        app.toggle(key="log").set_value(True).run()
        writer.scalars(1, {"accuracy/left": 1.0})
        app.run()
        assert app.pills(key="panels").options == ["loss", "accuracy"]
        assert app.toggle(key="log").value is True
    app.run()
    assert not any("recording" in element.value for element in app.markdown)
