"""The proposed label space, to be changed by hand, kept with the analysis, and taken along as a file."""

from __future__ import annotations

import pandas as pd
import streamlit as st

import parts
from workbench.core import Run, WorkbenchError
from workbench.lenses.kept import forget, keep, kept
from workbench.lenses.labels.statistics import Labels
from workbench.lenses.labels.unify import Proposal, edited

KIND = "label spaces"
PROPOSED = "as proposed"
MIME = {"yaml": "application/yaml", "json": "application/json", "csv": "text/csv"}


def editor(run: Run, stats: Labels) -> None:
    """Two tables to edit, the result's downloads, and the spaces that were kept."""
    with st.expander(
        "One label space for all datasets", icon=":material/edit:", key="space", on_change="rerun"
    ) as shown:
        if shown.open:
            _edit(run, stats)


def _edit(run: Run, stats: Labels) -> None:
    earlier = kept(run, KIND)
    start = PROPOSED
    if earlier:
        start = st.selectbox("Start from", [PROPOSED, *earlier], key="space start")
    given = stats.unified
    if start in earlier:
        try:
            given = _restored(stats, earlier[start])
        except (WorkbenchError, KeyError, TypeError) as error:
            st.warning(f"The kept space '{parts.plain(start)}' does not fit this run: {parts.plain(str(error))}")
    left, right = st.columns([3, 2])
    with left:
        st.caption("Give two labels the same unified name to merge them; write a new name to keep them apart.")
        mapping = st.data_editor(
            given.mapping[["dataset", "label", "unified"]], key=f"space mapping {run.name} {start}", hide_index=True,
            disabled=["dataset", "label"], height=320,
        )  # fmt: skip
    unified = {(row.dataset, row.label): str(row.unified or "") for row in mapping.itertuples()}
    names = list(dict.fromkeys(unified.values()))
    before = dict(zip(given.labels["label"], given.labels["parent"], strict=True))
    parents = pd.DataFrame({"label": names, "part of": [before.get(name, "") for name in names]})
    parents["part of"] = parents["part of"].where(parents["part of"].isin(names), "")
    with right:
        st.caption("Which unified label holds which.")
        nested = st.data_editor(
            parents, key=f"space parents {run.name} {start} {hash(tuple(names))}", hide_index=True, disabled=["label"],
            column_config={"part of": st.column_config.SelectboxColumn(options=["", *names])}, height=320,
        )  # fmt: skip
    held = dict(zip(nested["label"], nested["part of"].fillna(""), strict=True))
    try:
        space = edited(stats.spaces, unified, held)
    except WorkbenchError as error:
        st.error(parts.plain(str(error)), icon=":material/block:")
        return
    _take(run, space, start if start in earlier else None, unified, held)


def _restored(stats: Labels, value: dict[str, list[list[str]]]) -> Proposal:
    unified = {(dataset, label): name for dataset, label, name in value["mapping"]}
    return edited(stats.spaces, unified, dict(value["parents"]))


def _take(
    run: Run, space: Proposal, name: str | None, unified: dict[tuple[str, str], str], parents: dict[str, str]
) -> None:
    """Downloads of the space as it stands, and a name to keep it under."""
    n_samples = f"{len(space.labels)} labels for {space.mapping['dataset'].nunique()} datasets"
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.markdown(f"**{n_samples}**", width="stretch")
        for kind, mime in MIME.items():
            file = f"{parts.file_name(run.name)}-labels.{kind}"
            st.download_button(
                kind.upper(), space.text(kind), file, mime, on_click="ignore", icon=":material/download:",
                type="tertiary", key=f"space {kind}",
            )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.text_input("Keep as", value=name or "", key=f"space name {name}", placeholder="a name", width=260)
        if st.button("Keep", key="space keep", icon=":material/bookmark_add:", disabled=not (chosen or "").strip()):
            mapping = [[dataset, label, value] for (dataset, label), value in unified.items()]
            keep(run, KIND, chosen, {"mapping": mapping, "parents": [[a, b] for a, b in parents.items() if b]})
            st.rerun()
        if name is not None and st.button("Forget", key="space forget", icon=":material/bookmark_remove:"):
            forget(run, KIND, name)
            st.rerun()
