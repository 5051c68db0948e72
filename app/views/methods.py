"""What do published remedies do, and did it hold here? Methods by family, a small training of each, the board."""

from __future__ import annotations

from itertools import groupby

import streamlit as st

import parts
import training
from choice import SAMPLES, collection, folders, look_later
from widgets import one_of
from workbench.core import WorkbenchError
from workbench.demos import RECIPES, Recipe
from workbench.demos.board import Row, read_board
from workbench.demos.costs import read_costs
from workbench.lenses.claims_figure import Measured, claims_figure
from workbench.lenses.cost_figure import Costed, cost_figure
from workbench.methods import FAMILIES, METHODS, Description, describe

LIST, BOARD = "Methods", "Claims board"
BADGES = {
    "holds": ":green-badge[✓ holds]",
    "does not hold at this scale": ":red-badge[✕ does not hold here]",
    "cannot tell": ":gray-badge[? cannot tell]",
}
#: What the plane of costs can show upwards.
GAINS = {"score": "mean accuracy, %", "delta": "mean relative gain against a net a task, %"}
#: Runs of the board that are offered at once.
MAX_RUNS = 6


@st.cache_data(ttl=10, show_spinner=False)
def board() -> list[Row]:
    return read_board()


def counted(rows: list[Row]) -> str:
    """How many claims ended how, as badges; a method without claims says so."""
    counts = {answer: sum(row.answer == answer for row in rows) for answer in BADGES}
    shown = [BADGES[answer].replace("[", f"[{n} × ", 1) for answer, n in counts.items() if n]
    return " ".join(shown) or ":gray-badge[no claim measured yet]"


def card(method: Description, rows: list[Row]) -> None:
    with st.container(border=True, height="stretch"):
        st.caption(method.family.capitalize())
        st.markdown(f"**{parts.plain(method.name)}**  \n{parts.plain(method.line)}")
        st.markdown(counted(rows))
        st.button(
            "Open", key=f"open {method.slug}", on_click=choose, args=(method.slug,), icon=":material/arrow_forward:"
        )


def choose(slug: str | None) -> None:
    """Put the method into the address."""
    if slug is None:
        st.query_params.pop("method", None)
    else:
        st.query_params["method"] = slug


def overview(rows: list[Row], text: str) -> None:
    """All methods as cards, family by family."""
    described = sorted((describe(slug) for slug in METHODS), key=lambda method: FAMILIES.index(method.family))
    words = text.lower().split()
    found = [m for m in described if all(word in f"{m.name} {m.line} {m.plain} {m.cite}".lower() for word in words)]
    if not found:
        st.info("No method matches the filter.")
    for group in _threes(found):
        for column, method in zip(st.columns(3), group, strict=False):
            with column:
                card(method, [row for row in rows if row.method == method.slug])


def _threes(items: list[Description]) -> list[list[Description]]:
    return [items[i : i + 3] for i in range(0, len(items), 3)]


def one_method(method: Description, rows: list[Row]) -> None:
    """What a method does, what was claimed and found, and a training to see for oneself."""
    st.button("All methods", on_click=choose, args=(None,), icon=":material/arrow_back:", type="tertiary")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(
            f"{parts.plain(method.name)}: {parts.plain(method.line[:1].lower() + method.line[1:])}", anchor=False
        )
    left, right = st.columns([3, 2], gap="medium")
    with left:
        st.markdown(parts.plain(method.plain))
        st.markdown(f"**Look at** {parts.plain(method.look_at[:1].lower() + method.look_at[1:])}")
        st.caption(parts.plain(method.cite.split(". ")[0] + "."))
    recipes = [recipe for recipe in RECIPES if recipe.method == method.slug]
    with right:
        if recipes:
            name = recipes[0].name
            if len(recipes) > 1:
                name = one_of("Recipe", [recipe.name for recipe in recipes], "recipe")
            training.panel(next(recipe for recipe in recipes if recipe.name == name))
    for unit, group in groupby(sorted(rows, key=lambda row: row.unit), key=lambda row: row.unit):
        figure(list(group), f"{method.slug} {unit}")
    for recipe in recipes:
        plane(recipe)
    for row in rows:
        claim(row)
    for name in dict.fromkeys(row.recipe for row in rows):
        training.first_seed(name)
    with st.expander("Equations, and what is the paper's and what is ours", icon=":material/function:"):
        st.code(method.equations, language=None)
        st.markdown(parts.plain(method.letters))
        st.caption(parts.plain(method.cite))


def plane(recipe: Recipe) -> None:
    """What the ways of training of a recipe cost and how well they do, where it says so and they were trained."""
    points = read_costs(recipe.name)
    if recipe.plane is None or not points:
        return
    with st.container(horizontal=True):
        cost = one_of("Cost", list(recipe.plane.costs), "cost", name=recipe.plane.costs.__getitem__)
        gain = one_of("Gain", list(GAINS), "gain", name=GAINS.__getitem__)
    values = {point.variant: [100 * x for x in point.score] if gain == "score" else point.delta for point in points}
    drawn = cost_figure(
        [Costed(point.variant, point.costs[cost], values[point.variant]) for point in points],
        recipe.plane.costs[cost],
        GAINS[gain],
    )
    parts.chart(drawn, f"costs {recipe.name}", "Mean accuracy and cost of every way of training, with 95 % intervals")
    st.caption(
        f"Means over {len(points[0].seeds)} seeds with 95 % intervals; ways of one cost stand side by side. The "
        f"relative gain is the mean over tasks of score / score of {recipe.plane.reference} − 1."
    )


def figure(rows: list[Row], key: str) -> None:
    claims = [
        Measured(row.sentence, row.differences, row.mean, row.low, row.high, row.margin, row.unit, row.answer)
        for row in rows
        if row.seeds
    ]
    if claims:
        said = "; ".join(f"{row.sentence} {row.measured}: {row.answer}" for row in rows)
        parts.chart(claims_figure(claims), f"claims {key}", said)


def claim(row: Row) -> None:
    """One claim in words, with what the paper reports and the runs behind the finding."""
    with st.container(border=True):
        st.markdown(
            f"{BADGES[row.answer]} {parts.plain(row.sentence)}  \n**Measured here** {parts.plain(row.measured)}"
        )
        st.caption(f"The paper reports: {parts.plain(row.reported)}")
        with st.popover("Runs behind it", icon=":material/folder_open:", type="tertiary"):
            runs_behind(row)


def runs_behind(row: Row) -> None:
    """A button for each run of this finding that is in a folder of the app, and how to train the others."""
    places = folders()
    found = [(name, key) for name in places for key in row.paired_runs if key in collection(places[name])]
    samples = [f"{row.recipe}/{variant}" for variant in row.variants]
    if SAMPLES in places:
        found += [(SAMPLES, key) for key in samples if key in collection(places[SAMPLES])]
    for name, key in found[:MAX_RUNS]:
        about = "sample run, seed 0: " if name == SAMPLES else ""
        if st.button(f"{about}{parts.plain(key)}", key=f"run {row.claim} {name} {key}", type="tertiary"):
            look_later(key, folder=name)
            st.switch_page("views/overview.py")
    if len(row.seeds) * len(row.variants) > sum(name != SAMPLES for name, _ in found):
        st.markdown("The trainings of the board are made again by")
        st.code(f"workbench claims {row.recipe} --out runs/claims", language="bash")


def whole_board(rows: list[Row]) -> None:
    """Every claim in one table, and as a figure for each unit."""
    held = counted(rows)
    st.markdown(
        f"{held} A claim holds when the 95 % interval of the difference over paired seeds lies above its margin. No "
        "seed of this board was used to choose a setting. The intervals are not corrected for the number of claims."
    )
    frame = [
        {
            "verdict": row.answer,
            "method": describe(row.method).name if row.method else row.recipe,
            "claim": row.sentence,
            "measured here": row.measured,
            "the paper reports": row.reported,
            "seeds": len(row.seeds),
            "seconds a training": round(row.seconds),
        }
        for row in rows
    ]
    st.dataframe(frame, hide_index=True, alt="All claims with their findings", height="content", column_config=COLUMNS)
    for unit, group in groupby(sorted(rows, key=lambda row: row.unit), key=lambda row: row.unit):
        figure(list(group), f"board {unit}")


COLUMNS = {
    "verdict": st.column_config.TextColumn(width=170),
    "method": st.column_config.TextColumn(width=150),
    "claim": st.column_config.TextColumn(width=430),
    "measured here": st.column_config.TextColumn(width=280),
    "the paper reports": st.column_config.TextColumn(width=300),
}

st.title("What do published remedies do, and did it hold here?", anchor=False)
try:
    measured = board()
except WorkbenchError as error:
    st.warning(parts.plain(str(error)))
    measured = []
slug = st.query_params.get("method")
with st.container(horizontal=True, vertical_alignment="bottom"):
    part = one_of("Show", [LIST, BOARD], "part")
    text = ""
    if part == LIST and slug not in METHODS:
        text = st.text_input("Filter", key="filter", bind="query-params", placeholder="name, idea, paper…", width=320)
if part == BOARD:
    whole_board(measured)
elif slug in METHODS:
    one_method(describe(slug), [row for row in measured if row.method == slug])
else:
    overview(measured, text or "")
