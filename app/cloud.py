"""A map of many points that stays smooth without a graphics card, with a lasso.

cloud.chart(dots, fig, key="map", height=470, on_lasso=take)
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from workbench.core import ConfigError
from workbench.lenses.domains.dots import Dots, enclosed

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: Corners of a lasso that are looked at: more than a hand draws.
MAX_CORNERS = 4000
HTML = """<div class="cloud">
<div class="head"><div class="words"><div class="title"></div><div class="subtitle"></div></div>
<div class="tools"><button data-tool="move" title="Drag moves the map; the wheel zooms">Move</button>
<button data-tool="lasso" title="Drag round samples to select them; the same with the shift key held">Lasso</button>
<button class="whole" title="Show all points again (double click)">Whole map</button></div></div>
<div class="up"></div><div class="stage"><canvas role="img" tabindex="0"></canvas></div>
<div class="side"><div class="legend"></div><div class="chosen"></div>
<div class="scale" hidden><div class="ramp"></div><div class="ends"></div></div></div>
<div class="across"></div></div>"""
_HERE = Path(__file__).parent


def _component() -> Any:
    """The component as the running app knows it; declared anew for each app, since a test runs many."""
    return st.components.v2.component(
        "workbench_cloud",
        html=HTML,
        css=(_HERE / "cloud.css").read_text(encoding="utf-8"),
        js=(_HERE / "cloud.js").read_text(encoding="utf-8"),
    )


def chart(dots: Dots, fig: go.Figure, key: str, height: int, on_lasso: Callable[[list[int]], None]) -> None:
    """The map with its legend and tools.

    Args:
        fig: The same map by plotly, whose title this one bears.
        on_lasso: Gets the samples inside a loop that was drawn on the map.
    """

    def drawn() -> None:
        with suppress(ConfigError):  # only a damaged message is no loop: nothing was drawn
            on_lasso(lassoed(dots, st.session_state[key].get("lasso")))

    title = fig.layout.title
    lines = (title.subtitle.text or "").replace("<br>", "\n")
    words = json.dumps({"title": title.text or "", "subtitle": lines, "height": height}).encode()
    front = len(words).to_bytes(4, "little") + words
    data = front + b"\0" * (-len(front) % 8) + dots.packed()
    _component()(data=data, key=key, height=height, on_lasso_change=drawn)


def lassoed(dots: Dots, drawn: Any) -> list[int]:
    """The shown samples inside a loop, as the browser sent it: ``polygon`` (corners) and ``hidden`` (groups).

    Raises:
        ConfigError: what came is no loop.
    """
    try:
        polygon = np.asarray(drawn["polygon"], dtype=float)
        hidden = np.asarray(drawn.get("hidden", []), dtype=int)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise ConfigError("The browser sent no loop of points.") from error
    if polygon.ndim != 2 or polygon.shape[1] != 2 or not 3 <= len(polygon) <= MAX_CORNERS:
        raise ConfigError(f"A loop needs 3 to {MAX_CORNERS:,} corners of two numbers.")
    if not np.isfinite(polygon).all():
        raise ConfigError("A corner of the loop is no number.")
    inside = enclosed(polygon, dots.xy) & ~np.isin(dots.group, hidden)
    return [int(sample) for sample in dots.sample[inside]]
