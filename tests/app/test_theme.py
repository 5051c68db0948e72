"""Both themes are legible: WCAG contrast of every text colour the app sets, at least 4.5 to 1."""

from __future__ import annotations

import tomllib

import pytest

from workbench.cli.app import app_script

CONFIG = tomllib.loads((app_script().parent / ".streamlit" / "config.toml").read_text("utf-8"))
PAIRS = [
    ("textColor", "backgroundColor"),
    ("textColor", "secondaryBackgroundColor"),
    ("linkColor", "backgroundColor"),
    ("linkColor", "secondaryBackgroundColor"),
    ("primaryColor", "backgroundColor"),  # the open tab, the value of a slider
    ("primaryColor", "secondaryBackgroundColor"),
    *((f"{name}TextColor", f"{name}BackgroundColor") for name in ("red", "orange", "gray", "green", "blue")),
    *((f"{name}TextColor", "backgroundColor") for name in ("red", "orange", "gray", "green", "blue")),
]


def luminance(colour: str) -> float:
    """WCAG 2.1, relative luminance."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_of_black_on_white_is_21():
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21.0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("ink", "paper"), PAIRS)
def test_text_is_legible(scheme: str, ink: str, paper: str):
    colours = CONFIG["theme"][scheme]
    assert contrast(colours[ink], colours[paper]) >= 4.5


def test_the_app_is_local_and_silent_however_it_is_started():
    assert CONFIG["server"]["address"] == "127.0.0.1"
    assert CONFIG["server"]["fileWatcherType"] == "none"
    assert CONFIG["browser"]["gatherUsageStats"] is False
