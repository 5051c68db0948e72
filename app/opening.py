"""Open a log that is not in the list yet: files dropped into the page, or the path of one inside the folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import streamlit as st

import parts
from choice import UPLOADS, collection, folders, look_later
from columns import editor, table_of
from workbench.core import RunFormatError, WorkbenchError
from workbench.runs import FORMATS, RunCollection, open_runs
from workbench.runs.tables import SUFFIXES
from workbench.runs.uploads import Received, inside, receive, remove, uploads

WAYS = ("Files or an archive", "A folder", "A path")


def panel() -> None:
    """Three ways to name a log, and what was recognised in it."""
    with st.expander(
        "Open a log of another program, or a table", icon=":material/upload_file:", key="open a log", on_change="rerun"
    ) as shown:
        if not shown.open:
            return
        way = st.segmented_control("From", WAYS, default=WAYS[0], required=True, key="open from")
        try:
            place, left_out = _pasted() if way == "A path" else _dropped("directory" if way == "A folder" else True)
            if place is not None:
                _recognised(place)
            if left_out:
                st.caption(f"Left out, neither file nor folder: {parts.plain(', '.join(left_out[:10]))}.")
        except WorkbenchError as error:
            st.error(parts.plain(str(error)), icon=":material/block:")
        _earlier()


def _dropped(several: bool | str) -> tuple[Path | None, tuple[str, ...]]:
    """Where dropped files were put. They go to the cache folder; the log they come from is not touched."""
    files = st.file_uploader(
        "Drop it here",
        accept_multiple_files=several,  # type: ignore[arg-type]
        key=f"dropped {several}",
        help="TensorBoard, Lightning, Transformers, Weights & Biases, MLflow, Trackio, DomainBed, WILDS, Mammoth, "
        "LibMTL, Cockpit, tables, embeddings and annotations. Also as .zip or .tar.",
    )
    if not files:
        st.caption(f"Files are copied to {parts.plain(str(uploads()))}, read there, and never executed.")
        return None, ()
    # The same files come again in every rerun; they are copied once.
    given = tuple(file.file_id for file in files)
    known: dict[tuple[str, ...], Received] = st.session_state.setdefault("received", {})
    if given not in known:
        known[given] = receive([(file.name, file) for file in files])
        collection.clear()
    return known[given].folder, known[given].left_out


def _pasted() -> tuple[Path | None, tuple[str, ...]]:
    text = st.text_input("Path", key="pasted", placeholder="a file or folder inside the folders of this app")
    return (inside(text, folders().values()) if text else None), ()


def _recognised(place: Path) -> None:
    """What the readers say about a place, with a button for each run and an editor for each table."""
    try:
        found: RunCollection | None = open_runs(place)
    except RunFormatError:
        found = None  # a single file that no reader knows
    runs = dict(found.items()) if found is not None else {}
    tables = {table: None for run in runs.values() if (table := table_of(run)) is not None}
    unknown = [file for file in _tables(place) if file not in tables] if not runs else []
    if runs:
        names = Counter(run.format.name if hasattr(run, "format") else "run folder" for run in runs.values())
        said = ", ".join(f"{count} × {name}" if count > 1 else name for name, count in names.items())
        st.success(f"Recognised: {parts.plain(said)}.", icon=":material/check_circle:")
        _openers(place, list(runs))
    elif not unknown:
        known = ", ".join(item.name for item in FORMATS)
        st.warning(f"Nothing in {parts.plain(place.name)} is of a known format. Known: {known}.")
    for problem in found.problems if found is not None else ():
        st.warning(parts.plain(str(problem)), icon=":material/warning:")
    for table in [*tables, *unknown][:5]:
        with st.container(border=True):
            editor(table)


def _tables(place: Path) -> list[Path]:
    files: Iterable[Path] = [place] if place.is_file() else sorted(place.rglob("*"))
    return [file for file in files if file.is_file() and file.suffix.lower() in SUFFIXES]


def _openers(place: Path, keys: list[str]) -> None:
    """A button for each of the first few runs, and one for all of them."""
    folder = UPLOADS if place.parent == uploads() else str(place)
    prefix = f"{place.name}/" if folder == UPLOADS and keys != [place.name] else ""
    with st.container(horizontal=True):
        for key in keys[:6]:
            if st.button(f"Open {parts.plain(key)}", icon=":material/dashboard:", key=f"open {place} {key}"):
                look_later(f"{prefix}{key}", folder=folder)
                st.switch_page("views/overview.py")
        if len(keys) > 1 and st.button(f"List all {len(keys)}", icon=":material/list:", key=f"list {place}"):
            look_later(f"{prefix}{keys[0]}", folder=folder)
            st.rerun()


def _earlier() -> None:
    """What was handed over before, with a way to delete it."""
    kept = sorted(item for item in uploads().glob("[!.]*") if item.is_dir()) if uploads().is_dir() else []
    if not kept:
        return
    with st.popover(f"Uploads kept: {len(kept)}", icon=":material/folder_delete:"):
        for folder in kept:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(parts.plain(folder.name), width="stretch")
                st.button("Delete", key=f"delete {folder.name}", type="tertiary", on_click=_delete, args=(folder,))


def _delete(folder: Path) -> None:
    remove(folder)
    st.session_state.pop("received", None)
    collection.clear()
