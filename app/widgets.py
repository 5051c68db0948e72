"""Widgets whose value is part of the address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from choice import valid

ALL_STEPS = "all"


def step(steps: Sequence[int]) -> int:
    """A slider over the recorded steps, at the last one unless the address says otherwise."""
    chosen = _step([int(item) for item in steps])
    return int(chosen)


def step_or_all(steps: Sequence[int]) -> int | None:
    """A slider over the recorded steps and, at its right end and by default, all of them together (None)."""
    chosen = _step([*(int(item) for item in steps), ALL_STEPS])
    return None if chosen == ALL_STEPS else int(chosen)


def _step(options: list[Any]) -> Any:
    if len(options) < 2:
        return options[0]
    valid("step", options, options[-1])
    return st.select_slider("Step", options, value=options[-1], key="step", bind="query-params")


def one_of(
    label: str,
    options: Sequence[Any],
    key: str,
    name: Callable[[Any], str] = str,
    hint: str | None = None,
    first: Any = None,
) -> Any:
    """One of a few options: side by side when they fit, as a list otherwise. ``first`` is chosen at the start."""
    options = list(options)
    start = first if first in options else options[0]
    valid(key, options, start, name)
    if len(options) <= 4 and sum(len(name(option)) for option in options) <= 40:
        return st.segmented_control(
            label, options, default=start, required=True, format_func=name, key=key, bind="query-params", help=hint
        )
    return st.selectbox(label, options, options.index(start), format_func=name, key=key, bind="query-params", help=hint)


def switch(label: str, key: str, value: bool = False, hint: str | None = None) -> bool:
    return st.toggle(label, value=value, key=key, bind="query-params", help=hint)


def some_of(label: str, options: Sequence[str], default: Sequence[str], key: str, hint: str | None = None) -> list[str]:
    """Several of some options; the default when none is left."""
    if key in st.session_state:
        st.session_state[key] = [item for item in st.session_state[key] or [] if item in options]
    chosen = st.pills(
        label, options, selection_mode="multi", default=list(default), key=key, bind="query-params", help=hint
    )
    return list(chosen) or list(default)
