"""How far apart are my domains inside the model?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import combinations
from typing import Any

import streamlit as st

import cloud
import hover
import parts
import selection
from choice import current
from frame import lens_page
from widgets import one_of, step
from workbench.core import ConfigError
from workbench.lenses.domains import MEASURES, DomainShift, Stream, colour_options
from workbench.lenses.domains.aligned import shared_slices
from workbench.lenses.domains.dots import dots_of
from workbench.lenses.domains.figures import pair_name
from workbench.lenses.domains.map_figure import WRITTEN_UP_TO, slices_of
from workbench.lenses.domains.map_jobs import MapJob, start_map
from workbench.lenses.domains.stream_figures import stream_in

#: Columns of more levels than this are not offered level by level.
MOST_LEVELS = 30
page = lens_page("domains")
stream: Stream | None = stream_in(page.stats)


def scope() -> str | None:
    return one_of("Domains", list(stream.scopes), "scope") if stream else None


def model() -> str | None:
    return one_of("Answers of", list(stream.models), "model") if stream else None


def swept() -> str | None:
    return one_of("Domains", list(stream.sweep.scopes), "swept") if stream and stream.sweep else None


if isinstance(page.stats, Stream):  # tasks one after the other, without embeddings: nothing else can be shown
    with page.controls:
        chosen = {"scope": scope(), "model": model()}
    page.main(**chosen)
    page.further(**chosen, domains=swept)
    st.stop()

stats: DomainShift = page.stats
with st.sidebar:
    layer = one_of("Layer", list(reversed(stats.layers)), "layer", hint="The last layer first.")
    colour = one_of("Colour by", colour_options(stats), "colour")
    method = one_of(
        "Map by",
        ["pca", "umap"],
        "method",
        name=str.upper,
        hint="UMAP is computed aside; PCA shows until it is there.",
    )
with page.controls:
    at = step(stats.steps)


def give_up(job: MapJob) -> None:
    """End the background map and go back to the one that is there at once."""
    job.cancel()
    st.session_state["method"] = "pca"


@st.fragment(run_every=1)
def progress(job: MapJob) -> None:
    """How far the background map is; draws the page again once it is over."""
    if job.state != "running":
        st.rerun(scope="app")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(job.progress, f"UMAP: {job.stage}")
        st.button("Cancel", on_click=give_up, args=(job,), key=f"cancel {job.folder.name}")


def follow(job: MapJob) -> None:
    """How far a background map is, or why there is none."""
    if job.state == "running":
        progress(job)
    elif job.state == "failed":
        st.warning(parts.plain(job.error), icon=":material/warning:")


if method == "umap" and (layer, at) in stats.points:
    follow(start_map(stats.clouds.points(layer, at)))


def aligned_method() -> str:
    """The method of the map over training, which has a job of its own, started when it is looked at."""
    if method == "umap":
        try:
            follow(start_map(shared_slices(slices_of(stats, layer))))
        except ConfigError as error:  # too few samples that all checkpoints share
            st.info(parts.prose(str(error)), icon=":material/info:")
    return str(method)


def take(samples: list[int]) -> None:
    """Make points that were just marked on the map the selection; marking none changes nothing."""
    if samples:
        selection.select(page.run, samples, f"marked on the map (domains, {layer}, step {at}, {method.upper()})")


def marked() -> None:
    """Take what was marked on the map that plotly draws."""
    points = st.session_state["domains map"]["selection"]["points"]
    take([int(point["customdata"]) for point in points if point.get("customdata") is not None])


def draw_many(fig: Any, key: str) -> None:
    """The map of more points than plotly moves smoothly."""
    dots = dots_of(stats, stats.clouds.layout(layer, at, method), colour, chosen)
    cloud.chart(dots, fig, f"{key} of many", parts.MAIN_HEIGHT, take)


def levels() -> dict[str, Callable[[], list[int]]]:
    """Domains, classes and attributes of few levels, with what finds their samples."""
    found: dict[str, Callable[[], list[int]]] = {}
    for name in dict.fromkeys([colour, *colour_options(stats)]):
        known = stats.samples[name].dropna()
        if known.nunique() <= MOST_LEVELS:
            for level in sorted(known.unique(), key=str):
                found[f"{name}: {level}"] = partial(samples_of, name, level)
    return found


def samples_of(name: str, level: Any) -> list[int]:
    return [int(sample) for sample in stats.samples.index[stats.samples[name] == level]]


with page.controls:
    selection.offer("Select", levels(), page.run, "domains")
chosen = page.selected.samples if page.selected is not None else ()
with st.spinner("Drawing the map…", show_time=True):
    many = (layer, at) in stats.points and len(stats.clouds.layout(layer, at, method).xy) > WRITTEN_UP_TO
page.main(
    {"on_select": marked}, draw_many if many else None,
    layer=layer, step=at, colour=colour, method=method, selected=chosen,
)  # fmt: skip
if page.selected is not None:
    selection.pictures(page.run, page.selected, ("domain", colour))


FURTHEST = "the furthest"


def measure() -> str:
    names = {measure: MEASURES[measure].split(",")[0] for measure in MEASURES}
    return str(one_of("Distance", list(names), "measure", name=names.__getitem__))


def domain() -> str | None:
    chosen = one_of("Domain", [FURTHEST, *stats.domains], "domain")
    return None if chosen == FURTHEST else chosen


def since() -> int | None:
    """The step at which arrows begin."""
    earlier = [int(found) for found in stats.steps if found < at]
    return one_of("From step", earlier, "since") if earlier and current().other is None else None


page.further(
    layer=layer,
    step=at,
    colour=colour,
    method=aligned_method,
    measure=measure,
    domain=domain,
    compare=lambda: one_of("Compare", ["training", "layers"], "against"),
    since=since,
    domains=swept,
    scope=scope,
    model=model,
)


def both(cell: str) -> None:
    """Make the samples of the two domains of a clicked cell the selection."""
    for domain_a, domain_b in combinations(stats.domains, 2):
        if cell in (pair_name(domain_a, domain_b), pair_name(domain_b, domain_a)):
            members = stats.samples.index[stats.samples["domain"].isin((domain_a, domain_b))]
            selection.select(page.run, [int(sample) for sample in members], f"{cell} (domains)")


hover.pictures(page.run, tuple(dict.fromkeys(("domain", colour))), both)
