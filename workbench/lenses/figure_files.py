"""A figure as a file: HTML that opens offline in any browser, or a picture (SVG, PNG) where the engine for it is there.

The engine is the optional package kaleido, which draws with a Chromium or Chrome that is installed on the machine.
"""

from __future__ import annotations

import os
import shutil
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from workbench.core import ConfigError, MissingDependency

if TYPE_CHECKING:
    import plotly.graph_objects as go

KINDS = ("html", "svg", "png")
MIME = {"html": "text/html", "svg": "image/svg+xml", "png": "image/png"}
#: Pixels of a picture of a figure that leaves its size to the page.
WIDTH, HEIGHT = 1100, 520
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@cache
def browser() -> str | None:
    """The browser that draws pictures: ``BROWSER_PATH``, or the first known one on the search path."""
    return os.environ.get("BROWSER_PATH") or next((path for name in _BROWSERS if (path := shutil.which(name))), None)


def can_draw() -> bool:
    """Whether figures can be written as SVG and PNG here."""
    return find_spec("kaleido") is not None and browser() is not None


def content(fig: go.Figure, kind: str, scale: float = 2.0) -> bytes:
    """The file's content.

    Args:
        kind: ``html``, ``svg`` or ``png``.
        scale: Pixels of a PNG for each pixel of the figure.

    Raises:
        ConfigError: another kind, or pictures are asked for and there is no browser to draw them.
        MissingDependency: pictures are asked for without kaleido.
    """
    if kind not in KINDS:
        raise ConfigError(f"A figure cannot be written as '{kind}'. Known: {', '.join(KINDS)}.")
    if kind == "html":
        return str(fig.to_html(include_plotlyjs=True)).encode()
    if find_spec("kaleido") is None:
        raise MissingDependency("kaleido", "figures", f"Writing a figure as {kind.upper()}")
    found = browser()
    if found is None:
        raise ConfigError(
            f"Writing a figure as {kind.upper()} needs Chromium or Chrome; none was found. Install one, name it in "
            "BROWSER_PATH, or use the camera button of the figure in the app."
        )
    os.environ["BROWSER_PATH"] = found  # where kaleido looks
    size = {"width": fig.layout.width or WIDTH, "height": fig.layout.height or HEIGHT}
    return bytes(fig.to_image(format=kind, scale=scale, **size))
