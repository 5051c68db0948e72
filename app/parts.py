"""Pieces of pages: verdict lines, figures, tables, downloads. They draw what the library computed."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from workbench.core import Run
from workbench.lenses import LEVELS, MARKS, Level, Verdict, figure_files

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: Title and icon of a lens's page in the navigation.
LENS_PAGES = {
    "conflict": ("Conflicts", ":material/call_split:"),
    "gsnr": ("GSNR", ":material/graphic_eq:"),
    "bias": ("Bias", ":material/balance:"),
    "labels": ("Labels", ":material/label:"),
    "domains": ("Domains", ":material/scatter_plot:"),
}
#: Colour of a level's mark; the mark and the word beside it say the same.
BADGES: Mapping[Level, str] = {"problem": "red", "watch": "orange", "cannot tell": "gray", "fine": "green"}
#: What the camera button of every figure saves.
CAMERA = "camera"
#: The tallest main figure that a window of 1440 by 900 shows together with the verdict and the step slider.
MAIN_HEIGHT = 470

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+\-!|<>~$:.&])")
_CODE = re.compile(r"`([^`\n]+)`")


def plain(text: str) -> str:
    """Text from a run as Markdown that shows it letter for letter: names are untrusted."""
    return _SPECIAL.sub(r"\\\1", text).replace("\n", "  \n")


def prose(text: str) -> str:
    """Like :func:`plain`, but what stands between backticks stays code."""
    pieces = _CODE.split(text)
    return "".join(f"`{piece}`" if i % 2 else plain(piece) for i, piece in enumerate(pieces))


def brief(sentence: str, length: int = 210) -> str:
    """The first sentences of a verdict that fit a card, at least one; a verdict leads with what matters."""
    first, *rest = re.split(r"(?<=\.) (?=[A-Z'])", sentence)
    for piece in rest:
        if len(first) + len(piece) >= length:
            break
        first += f" {piece}"
    return first


def mark(level: Level) -> str:
    """A coloured chip with the mark and the word of a level."""
    return f":{BADGES[level]}-badge[{MARKS[level]} {level}]"


def verdict_lines(verdicts: list[Verdict], lines: int = 6) -> None:
    """The verdicts, worst first: the first, the second if both fit into so many lines, the others folded."""
    shown = 2 if len(verdicts) > 1 and _lines(verdicts[0]) + _lines(verdicts[1]) <= lines else 1
    for number, verdict in enumerate(verdicts[:shown]):
        _verdict(verdict, number)
    if len(verdicts) > shown:
        rest = verdicts[shown:]
        levels = ", ".join(f"{MARKS[level]} {count} {level}" for level, count in _counted(rest))
        with st.expander(f"{len(rest)} more finding{'s' if len(rest) > 1 else ''}: {levels}", type="compact"):
            for number, verdict in enumerate(rest, start=shown):
                _verdict(verdict, number)


def _lines(verdict: Verdict) -> int:
    """How many lines a verdict takes in a window of 1440 pixels, roughly."""
    return -(-(len(verdict.sentence) + 10) // 135) + -(-len(verdict.next_step) // 155)


def _counted(verdicts: list[Verdict]) -> list[tuple[Level, int]]:
    counts = Counter(verdict.level for verdict in verdicts)
    return [(level, counts[level]) for level in LEVELS if counts[level]]


def _verdict(verdict: Verdict, number: int) -> None:
    line = f"{mark(verdict.level)} {prose(verdict.sentence)}"
    if verdict.next_step:
        line += f"  \n:small[:gray[Next: {prose(verdict.next_step)}]]"
    with st.container(horizontal=True, vertical_alignment="top", wrap=False):
        st.markdown(line, width="stretch")
        if verdict.options:
            st.button(
                "Show", key=f"show {number}", type="tertiary", icon=":material/my_location:",
                on_click=_show, args=(dict(verdict.options),), help="Set the figures to what this sentence is about.",
            )  # fmt: skip


def _show(options: Mapping[str, str]) -> None:
    """Set the widgets that carry these options; they turn the text into one of their own values."""
    for key, value in options.items():
        st.session_state[key] = value


def chart(
    fig: go.Figure, key: str, alt: str, height: int | None = None, file: str | None = None, **options: Any
) -> Any:
    """A plotly figure in the app's theme.

    Args:
        alt: Its one-sentence text equivalent.
        file: Name, without ending, of the picture that the figure's camera button saves.
    """
    if height is not None:
        fig.update_layout(height=height)
    picture = {"format": st.session_state.get(CAMERA, "png"), "scale": 2, "filename": file_name(file or key)}
    config = {"displaylogo": False, "toImageButtonOptions": picture}
    return st.plotly_chart(fig, key=key, alt=alt.strip() or key, config=config, **options)


def picture(fig: go.Figure, key: str, alt: str) -> None:
    """A figure that is only looked at: no hover, no toolbar."""
    st.plotly_chart(fig, key=key, alt=alt.strip() or key, config={"staticPlot": True, "displayModeBar": False})


def tables(frames: Mapping[str, pd.DataFrame], name: str) -> None:
    """The numbers behind the figures, each with its downloads."""
    for title, frame in frames.items():
        slug = file_name(f"{name}-{title}")
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{plain(title)}** :gray[{len(frame):,} rows]", width="stretch")
            _download("CSV", lambda frame=frame: frame.to_csv(index=False).encode(), f"{slug}.csv", "text/csv")
            _download("Parquet", lambda frame=frame: _parquet(frame), f"{slug}.parquet", "application/octet-stream")
        st.dataframe(frame, hide_index=True, alt=title, height="content" if len(frame) <= 11 else 420)


def figure_download(fig: go.Figure, name: str) -> None:
    """The figure as a file: HTML that opens offline, and pictures where there is something to draw them with."""
    drawn = figure_files.can_draw()
    with st.popover("Figure", icon=":material/download:", type="tertiary", key=f"figure {name}"):
        for kind in figure_files.KINDS if drawn else ("html",):
            _download(
                kind.upper(),
                lambda kind=kind: figure_files.content(fig, kind),
                f"{file_name(name)}.{kind}",
                figure_files.MIME[kind],
            )
        if not drawn:
            _camera_choice(f"{CAMERA} {name}")


def _camera_choice(key: str) -> None:
    """What the browser's own camera saves: one choice for the whole session, offered beside every figure."""
    st.session_state[key] = st.session_state.get(CAMERA, "png")

    def keep() -> None:
        st.session_state[CAMERA] = st.session_state[key]

    st.segmented_control("Camera button saves", ["png", "svg"], required=True, key=key, on_change=keep)
    st.caption("It is in the toolbar at the top right of every figure.")


def file_name(text: str) -> str:
    """Words as a file name."""
    return re.sub(r"\W+", "-", text).strip("-").lower()


def _download(label: str, make: Any, file: str, mime: str) -> None:
    st.download_button(
        label, make, file, mime, key=f"download {file}", on_click="ignore", icon=":material/download:", type="tertiary"
    )


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def gallery(found: pd.DataFrame, n_chosen: int) -> None:
    """Pictures of chosen samples with a line of words under each."""
    more = f"; the first {len(found)} are shown" if n_chosen > len(found) else ""
    st.markdown(f"**{n_chosen:,} chosen sample{'s' if n_chosen != 1 else ''}**{more}")
    with st.container(horizontal=True, gap="small"):
        for row in found.itertuples():
            with st.container(width=92, gap=None):
                if row.picture is not None:
                    st.image(row.picture, width=84, alt=f"sample {row.sample}, {row.words}")
                st.caption(plain(f"{row.sample}: {row.words}"))


STATUS_BADGES = {
    "live": ":blue-badge[:material/fiber_manual_record: recording]",
    "done": ":gray-badge[done]",
    "failed": ":red-badge[failed]",
    "stopped": ":orange-badge[stopped]",
}


def problems(run: Run) -> None:
    """What of a run could not be read, folded; nothing when all of it could."""
    found = run.problems
    if found:
        n_files = len({problem.path for problem in found})
        some = "1 file" if n_files == 1 else f"{n_files} files"
        with st.expander(f"Parts of {some} could not be read; the rest is shown", icon=":material/warning:"):
            for problem in found:
                # The log of another program lies elsewhere than its tables.
                homes = [home for home in (run.path, run.source) if home and problem.path.is_relative_to(home)]
                inner = problem.path.relative_to(homes[0]) if homes else Path()
                name = problem.path.name if inner == Path() else inner.as_posix()
                st.markdown(plain(f"{name}: {problem.reason}"))


def age(seconds: float) -> str:
    """A duration in its largest whole unit, e.g. ``3 h``."""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "now"
