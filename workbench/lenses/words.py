"""Numbers and lists in words, alike in the sentences and figures of every lens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import SupportsInt


def percent(share: float) -> str:
    """A share with its unit: whole percent, one decimal within 5 points of 0 or 100."""
    return f"{_digits(100 * share)} %"


def percent_range(low: float, high: float) -> str:
    """A 95 % interval of a share, e.g. "36–46 %"; one decimal when it is narrower than 5 points."""
    if math.isnan(low) or math.isnan(high):
        return "? %"
    decimals = 1 if 0 < high - low < 0.05 else 0
    return f"{100 * low:.{decimals}f}–{100 * high:.{decimals}f} %"


def _digits(value: float) -> str:
    if math.isnan(value):
        return "?"
    return f"{value:.0f}" if 5 <= value <= 95 or value in (0, 100) else f"{value:.1f}"


def count(n: SupportsInt) -> str:
    """A whole number with thin spaces between thousands."""
    return f"{int(n):,}".replace(",", "\u202f")


def listed(names: Sequence[str], limit: int = 5) -> str:
    """ "a, b and c"; beyond the limit "a, b, c and 4 more"."""
    shown = list(names[:limit])
    if len(names) > limit:
        shown.append(f"{len(names) - limit} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
