"""Values of groups and their differences in words, alike in sentences and figures."""

from __future__ import annotations

from workbench.lenses.words import percent, percent_range


def points(difference: float) -> str:
    """The size of a difference of shares in percentage points."""
    value = f"{abs(100 * difference):.2g}" if abs(difference) < 0.0995 else f"{abs(100 * difference):.0f}"
    return f"{value} point" if value == "1" else f"{value} points"


def points_range(low: float, high: float) -> str:
    """The interval of the size of a difference of shares: limits given with their sign, shown from small to large."""
    ends = sorted((100 * low, 100 * high), key=abs) if low * high > 0 else [100 * low, 100 * high]
    shown = [abs(end) if low * high > 0 else end for end in ends]
    return (
        f"{shown[0]:.2g} to {shown[1]:.2g} points"
        if max(map(abs, shown)) < 10
        else (f"{shown[0]:.0f} to {shown[1]:.0f} points")
    )


def value_text(value: float, share: bool) -> str:
    """A group's value: a share of what is right, or an error."""
    return percent(value) if share else f"{value:.3g}"


def range_text(low: float, high: float, share: bool) -> str:
    """A group's 95 % interval."""
    return percent_range(low, high) if share else f"{low:.3g}–{high:.3g}"


def difference_text(difference: float, share: bool) -> str:
    """The size of a difference of shares or errors."""
    return points(difference) if share else f"{abs(difference):.2g}"


def difference_range(low: float, high: float, share: bool) -> str:
    """The interval of the size of a difference of shares or errors."""
    if share:
        return points_range(low, high)
    ends = sorted((abs(low), abs(high))) if low * high > 0 else [low, high]
    return f"{ends[0]:.2g} to {ends[1]:.2g}"


def capital(text: str) -> str:
    """With a capital at its start and its other letters as they are: "IoU" stays "IoU"."""
    return text[:1].upper() + text[1:]
