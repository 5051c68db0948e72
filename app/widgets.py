"""Widgets whose value is part of the address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from choice import valid


def step(steps: Sequence[int], key: str = "step", label: str = "Step") -> int:
    """A slider over the recorded steps, at the last one unless the address says otherwise."""
    options = [int(item) for item in steps]
    if len(options) < 2:
        return options[0]
    valid(key, options, options[-1])
    return int(st.select_slider(label, options, value=options[-1], key=key, bind="query-params"))


def one_of(
    label: str, options: Sequence[Any], key: str, name: Callable[[Any], str] = str, hint: str | None = None
) -> Any:
    """One of a few options: side by side when they fit, as a list otherwise. The first one is the default."""
    options = list(options)
    valid(key, options, options[0])
    if len(options) <= 4 and sum(len(name(option)) for option in options) <= 40:
        return st.segmented_control(
            label, options, default=options[0], required=True, format_func=name, key=key, bind="query-params", help=hint
        )
    return st.selectbox(label, options, format_func=name, key=key, bind="query-params", help=hint)


def switch(label: str, key: str, value: bool = False, hint: str | None = None) -> bool:
    return st.toggle(label, value=value, key=key, bind="query-params", help=hint)
