"""How continuous attributes are cut into groups, chosen on the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

import parts
from choice import valid
from widgets import one_of
from workbench.lenses.bias.cube import Factor

EQUAL = {"counts": "equally many samples", "widths": "equal widths"}
MOST = 12


def bins(factors: Sequence[Factor]) -> dict[str, Any]:
    """Number and kind of bins, and edges of single attributes; nothing where no factor is cut.

    Returns:
        The options ``bins``, ``binning`` and ``edges`` of the bias lens.
    """
    cut = [factor for factor in factors if factor.edges]
    if not cut:
        return {}
    names = ", ".join(factor.name for factor in cut)
    with st.popover(f"Bins of {parts.plain(names)}", icon=":material/bar_chart:", width="stretch"):
        number = list(range(2, MOST + 1))
        valid("bins", number, 4)
        found: dict[str, Any] = {"bins": int(st.select_slider("Bins", number, 4, key="bins", bind="query-params"))}
        found["binning"] = one_of(
            "Each holds", list(EQUAL), "binning", name=EQUAL.__getitem__,
            hint="Bins of equally many samples are compared with equal certainty. Bins of equal widths follow the "
            "attribute's own scale; those at its ends may hold too few samples to be tested.",
        )  # fmt: skip
        texts = {factor.name: _typed(factor) for factor in cut}
    own = {name: _numbers(text) for name, text in texts.items()}
    return found | {"edges": {name: edges for name, edges in own.items() if edges}}


def _typed(factor: Factor) -> str:
    """Edges as the reader types them."""
    text = st.text_input(
        f"Own edges of {parts.plain(factor.name)}", key=f"edges {factor.name}", bind="query-params",
        placeholder=", ".join(f"{edge:.3g}" for edge in factor.edges),
        help="Numbers between the bins, with commas; a value on an edge belongs to the bin below it.",
    )  # fmt: skip
    return str(text or "")


def _numbers(text: str) -> tuple[float, ...]:
    """The numbers in a text; none, and a word on it, where something else is in it."""
    try:
        return tuple(sorted({float(part) for part in text.replace(";", ",").split(",") if part.strip()}))
    except ValueError:
        st.caption(f":red[{parts.plain(text)} holds something that is no number.]")
        return ()
