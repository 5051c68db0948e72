"""How the columns of somebody's table are read: the guess, shown to be confirmed or changed."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

import parts
from choice import collection
from workbench.core import Run, RunFormatError
from workbench.runs.columns import ROLES, Kind, Mapped, checked
from workbench.runs.tables import SUFFIXES, forget_mapping, head, keep_mapping, mapping_file, mapping_of, origin_of

#: What a table of each kind holds.
KINDS: dict[Kind, str] = {
    "predictions": "a prediction a row",
    "label_counts": "a label a row",
    "scalars": "logged numbers over steps",
}
REST = {"predictions": "Attributes", "scalars": "Tags"}
NONE = "none"
STATES = {
    "file": ":gray-badge[said by the file beside it]",
    "confirmed": ":green-badge[✓ confirmed]",
    "guessed": ":orange-badge[? guessed]",
}


def table_of(run: Run) -> Path | None:
    """The table that a run is read from; None for any other run."""
    source = run.source
    return source if source is not None and source.is_file() and source.suffix.lower() in SUFFIXES else None


def state(table: Path) -> str:
    """A badge that says where the reading of a table comes from."""
    return STATES[origin_of(table)]


def editor(table: Path) -> None:
    """The first rows, and which column plays which role. What is confirmed is kept in the cache folder."""
    try:
        rows, found = head(table), mapping_of(table)
    except RunFormatError as error:
        st.error(parts.plain(str(error)), icon=":material/broken_image:")
        return
    origin = origin_of(table)
    names = [str(name) for name in rows.columns]
    words = "its columns do not tell what it holds" if found is None else str(found)
    st.markdown(
        f"{state(table) if found else ':orange-badge[? unknown]'} {parts.plain(table.name)}: {parts.plain(words)}"
    )
    st.dataframe(rows.head(4), hide_index=True, height="content", alt=f"First rows of {table.name}")
    if origin == "file":
        st.caption(f"Change it in {parts.plain(mapping_file(table).name)}.")
        return
    kind: Kind = st.segmented_control(
        "The table holds", list(KINDS), default=found.kind if found else "predictions", required=True,
        format_func=KINDS.__getitem__, key=f"kind {table}",
    )  # fmt: skip
    start = found if found is not None and found.kind == kind else Mapped(kind, {})
    columns, rest = _roles(table, kind, start, names)
    _buttons(table, kind, columns, rest, names)


def _roles(table: Path, kind: Kind, start: Mapped, names: list[str]) -> tuple[dict[str, str], list[str] | None]:
    """A choice of a column for every role, and what the other columns are."""
    needed, optional = ROLES[kind]
    columns: dict[str, str] = {}
    with st.container(horizontal=True, gap="small"):
        for role in (*needed, *optional):
            given = start.columns.get(role)
            options = names if role in needed else [NONE, *names]
            place = options.index(given) if given in options else (None if role in needed else 0)
            label = f"{role.replace('_', ' ').capitalize()}{' (needed)' if role in needed else ''}"
            chosen = st.selectbox(
                label, options, place, key=f"{role} {kind} {table}", width=150, placeholder="choose a column"
            )
            if chosen is not None and chosen != NONE:
                columns[role] = chosen
    if kind not in REST:
        return columns, None
    free = [name for name in names if name not in columns.values()]
    default = [name for name in (start.rest if start.columns or start.rest else free) if name in free]
    rest = st.multiselect(REST[kind], free, default, key=f"rest {kind} {table} {sorted(columns.values())}")
    return columns, list(rest)


def _buttons(table: Path, kind: Kind, columns: dict[str, str], rest: list[str] | None, names: list[str]) -> None:
    try:
        mapped = checked(kind, columns, rest, names, table.name)
    except RunFormatError as error:
        st.caption(f":orange-badge[not yet] {parts.plain(str(error))}")
        return
    with st.container(horizontal=True):
        st.button(
            "Read it like this", icon=":material/check:", type="primary", key=f"keep {table}",
            on_click=_keep, args=(table, mapped), help="Kept in the cache folder; nothing is written beside the table.",
        )  # fmt: skip
        st.download_button(
            "columns.toml", mapped.toml(), f"{table.name}.columns.toml", "application/toml", key=f"toml {table}",
            on_click="ignore", icon=":material/download:",
            help=f"Put it beside the table as {mapping_file(table).name}, or pass it to: workbench import --map",
        )  # fmt: skip
        if origin_of(table) == "confirmed":
            st.button(
                "Guess again", icon=":material/undo:", type="tertiary", key=f"forget {table}",
                on_click=_forget, args=(table,),
            )  # fmt: skip


def _keep(table: Path, mapped: Mapped) -> None:
    keep_mapping(table, mapped)
    collection.clear()


def _forget(table: Path) -> None:
    forget_mapping(table)
    collection.clear()
