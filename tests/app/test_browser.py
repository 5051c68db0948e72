"""Every page in a real browser, on the sample runs: nothing breaks, no chart is empty, the address holds the view."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlparse

import pytest
from cloud_runs import write_many

from workbench.cli.app import app_script
from workbench.core import Run, RunWriter
from workbench.lenses import LENSES, Lens, look, read
from workbench.lenses.links import first_verdict
from workbench.runs import RunCollection, open_runs, sample_runs

pytestmark = pytest.mark.browser
sync_api = pytest.importorskip("playwright.sync_api")

SCREENSHOTS = Path(__file__).resolve().parents[1] / "screenshots"
SAMPLES = "Sample runs"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
#: The client looks for the server's root below the page's own path first; both answers are expected.
PROBES = re.compile(r"/_stcore/(health|host-config)$")
SLIDER = "[role=slider], input[type=range]"
SETTLED = """() => {
  const app = document.querySelector('[data-testid=stApp]');
  const idle = app && app.getAttribute('data-test-script-state') === 'notRunning';
  const charts = [...document.querySelectorAll('[data-testid=stPlotlyChart]')];
  return idle && !document.querySelector('[data-testid=stSkeleton]') && charts.every(c => c.querySelector('.main-svg'));
}"""
CHARTS = """() => [...document.querySelectorAll('.js-plotly-plot')].map(plot => ({
  traces: (plot._fullData || []).filter(trace => trace.visible === true).length,
  words: ((plot.layout || {}).annotations || []).length,
  marks: plot.querySelectorAll('.mlayer path, .mlayer rect, .mlayer image, .mlayer text, canvas, .annotation').length,
  height: plot.getBoundingClientRect().height,
  bottom: plot.getBoundingClientRect().bottom,
}))"""


def chart_faults(chart: dict[str, float]) -> list[str]:
    """What is wrong with a chart as it is drawn."""
    faults = {
        "an empty chart": not chart["traces"] and not chart["words"],
        "a chart without marks": not chart["marks"],
        "a squashed chart": chart["height"] <= 60,
    }
    return [fault for fault, found in faults.items() if found]


def chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for(url: str, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    raise TimeoutError(f"{url} did not answer within {seconds} s")


@pytest.fixture(scope="module")
def live_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("live")


@pytest.fixture(scope="module")
def runs(folder: Path) -> RunCollection:
    """The sample runs; small made-up ones in a checkout that has not recorded them yet."""
    found = open_runs(sample_runs())
    return found if len(found) else open_runs(folder)


@pytest.fixture(scope="module")
def place(runs: RunCollection) -> str:
    """What the app calls their folder."""
    return SAMPLES if runs.folder == sample_runs() else runs.folder.name


@pytest.fixture(scope="module")
def server(live_folder: Path, runs: RunCollection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app as the command starts it, on a folder of its own beside the sample runs."""
    port = free_port()
    RunWriter(live_folder / "nothing-recorded", question="What if nothing was recorded?").close()
    line = [sys.executable, "-c", "from workbench.cli import main; main()", "app", str(live_folder), str(runs.folder)]
    environment = os.environ | {
        "WORKBENCH_CACHE_DIR": str(tmp_path_factory.mktemp("cache")),
        "PYTHONPATH": os.pathsep.join([str(app_script().parents[1]), os.environ.get("PYTHONPATH", "")]),
    }
    process = subprocess.Popen([*line, "--port", str(port), "--no-browser"], env=environment)
    try:
        wait_for(f"http://localhost:{port}")
        yield f"http://localhost:{port}"
    finally:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    found = chromium()
    if found is None:
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail("No Chromium found; the browser pass must run in CI.")
        pytest.skip("no Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield opened
        opened.close()


class Tab:
    """One browser tab that collects what goes wrong in it."""

    def __init__(self, browser: sync_api.Browser, server: str, scheme: str = "light", width: int = 1440) -> None:
        self.server = server
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page = context.new_page()
        self.errors: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._asked)

    def _heard(self, message: sync_api.ConsoleMessage) -> None:
        if message.type == "error" and not PROBES.search(message.location.get("url", "")):
            self.errors.append(message.text)

    def _asked(self, request: sync_api.Request) -> None:
        if not request.url.startswith((self.server, self.server.replace("http", "ws"), "data:", "blob:")):
            self.errors.append(f"asked another machine: {request.url}")

    def open(self, path: str, **address: str) -> None:
        query = f"?{urlencode(address)}" if address else ""
        self.page.goto(f"{self.server}/{path}{query}")
        self.page.wait_for_selector("h1", timeout=60_000)
        self.settle()

    def settle(self) -> None:
        self.page.wait_for_timeout(150)  # the script starts a moment after the click
        self.page.wait_for_function(SETTLED, timeout=60_000)

    def look_further(self, title: str) -> None:
        """Open one of the further views of a lens."""
        pill = self.page.get_by_test_id("stButtonGroup").get_by_text(title, exact=True)
        pill.click()
        self.settle()
        pill.scroll_into_view_if_needed()

    def check(self, name: str, charts: int = 0) -> list[dict[str, float]]:
        """No exception box, no console error, no empty chart; keeps a screenshot."""
        self.page.wait_for_timeout(300)
        SCREENSHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")
        boxes = self.page.get_by_test_id("stException")
        assert boxes.count() == 0, boxes.first.inner_text()
        assert self.errors == []
        for _attempt in range(10):
            found: list[dict[str, float]] = self.page.evaluate(CHARTS)
            faults = [f"{len(found)} charts, expected {charts} or more"] if len(found) < charts else []
            faults += [fault for chart in found for fault in chart_faults(chart)]
            if not faults:
                return found
            self.page.wait_for_timeout(300)  # the last view's chart leaves, the next one draws
        raise AssertionError(f"{name}: {', '.join(faults)}")

    def address(self) -> dict[str, str]:
        return {key: values[0] for key, values in parse_qs(urlparse(self.page.url).query).items()}

    def close(self) -> None:
        self.page.context.close()


@pytest.fixture(scope="module")
def shown(runs: RunCollection) -> dict[str, str]:
    """For every lens a run that it can say something about, by its key."""

    def speaks(lens: Lens, run: Run) -> bool:
        verdict, found = first_verdict(run, lens, lambda run, slug: read(run, lens))
        return found is not None and verdict.level != "cannot tell"

    found = {}
    for lens in LENSES:
        found[lens.slug] = next((key for key, run in runs.items() if speaks(lens, run)), None)
    assert all(found.values()), f"no sample run for {[slug for slug, key in found.items() if key is None]}"
    return {slug: str(key) for slug, key in found.items()}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page(
    browser: sync_api.Browser, server: str, shown: dict[str, str], runs: RunCollection, place: str, scheme: str
):
    tab = Tab(browser, server, scheme)
    tab.open("", folder=place)
    tab.check(f"{scheme}-runs")
    first, second = list(runs)[:2]
    tab.open("overview", folder=place, run=shown["conflict"])
    tab.check(f"{scheme}-overview", charts=2)
    for lens in LENSES:
        tab.open(lens.slug, folder=place, run=shown[lens.slug])
        charts = tab.check(f"{scheme}-{lens.slug}", charts=1)
        assert charts[0]["traces"], f"nothing is drawn on {lens.slug}"
        assert charts[0]["bottom"] <= 900, f"the main figure of {lens.slug} needs scrolling at 1440 by 900"
    tab.open("compare", folder=place, run=first, compare=second)
    tab.check(f"{scheme}-compare")
    tab.open("conflict", run="nothing-recorded")
    tab.check(f"{scheme}-empty-state")
    tab.close()


@pytest.mark.parametrize("slug", [lens.slug for lens in LENSES])
def test_every_view_of_a_lens(
    browser: sync_api.Browser, server: str, shown: dict[str, str], runs: RunCollection, place: str, slug: str
):
    reading = look(runs[shown[slug]], slug)
    tab = Tab(browser, server)
    tab.open(slug, folder=place, run=shown[slug])
    for view in reading.lens.shown(reading.stats)[1:]:
        tab.look_further(view.title)
        tab.check(f"light-{slug}-{view.slug}", charts=2)
    tab.look_further("Numbers")
    tab.page.get_by_test_id("stDataFrame").first.wait_for()
    tab.page.get_by_text("How to read this").click()
    tab.check(f"light-{slug}-numbers")
    tab.close()


def test_the_address_holds_the_view(
    browser: sync_api.Browser, server: str, shown: dict[str, str], runs: RunCollection, place: str
):
    tab = Tab(browser, server)
    tab.open("conflict", folder=place, run=shown["conflict"])
    before = tab.page.locator(SLIDER).first.get_attribute("aria-valuetext")
    tab.page.locator(SLIDER).first.press("ArrowLeft")
    tab.page.wait_for_url("**step=*")
    tab.settle()
    moved = tab.page.locator(SLIDER).first.get_attribute("aria-valuetext")
    step = tab.address()["step"]
    assert tab.address().get("run", next(iter(runs))) == shown["conflict"]  # the first run is left out
    tab.look_further("Layer ladder")
    tab.page.wait_for_url("**view=*")

    other = Tab(browser, server)
    other.page.goto(tab.page.url)  # a pasted address
    other.page.wait_for_selector("h1")
    other.settle()
    assert other.address()["step"] == step
    assert other.page.get_by_text(re.compile(rf"at step {step}\b")).count() >= 1
    assert other.page.get_by_text("pooled cosine, 95 % interval").count() == 1  # on the ladder alone
    other.check("light-conflict-pasted", charts=2)
    other.close()

    tab.page.get_by_role("link", name="Bias", exact=True).click()
    tab.page.wait_for_url("**/bias?*")
    tab.settle()
    while "step" not in tab.address():  # the address without options is an entry of the history of its own
        tab.page.go_back()
        tab.settle()
    assert moved != before
    sync_api.expect(tab.page.locator(SLIDER).first).to_have_attribute("aria-valuetext", str(moved))
    sync_api.expect(tab.page.get_by_text("pooled cosine, 95 % interval")).to_have_count(1)
    tab.close()


def test_a_page_fits_a_window_of_1024_pixels(browser: sync_api.Browser, server: str, shown: dict[str, str], place: str):
    tab = Tab(browser, server, width=1024)
    for path in ("", "overview", "bias"):
        tab.open(path, folder=place, run=shown["bias"])
        tab.check(f"narrow-{path or 'runs'}")
        assert tab.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    tab.close()


def test_a_live_run_refreshes_by_itself_and_keeps_the_place(browser: sync_api.Browser, server: str, live_folder: Path):
    with RunWriter(live_folder / "live", flush_seconds=0) as writer:
        writer.scalars(0, {"loss/left": 1.0})
        tab = Tab(browser, server)
        tab.open("overview", run="live")
        assert tab.page.get_by_text("recording").count() == 1
        tab.page.get_by_text("Log scale").click()
        tab.page.wait_for_url("**log=true*")
        writer.scalars(1, {"accuracy/left": 0.5})
        tab.page.wait_for_function(
            "() => [...document.querySelectorAll('.js-plotly-plot')].some("
            "plot => (plot.layout.annotations || []).some(note => note.text === 'accuracy'))",
            timeout=20_000,
        )
        assert tab.address()["log"] == "true"
        tab.check("light-live")
    tab.page.wait_for_function("() => !document.body.innerText.includes('recording')", timeout=20_000)
    tab.close()


def test_a_map_of_many_points_moves_and_takes_a_lasso(browser: sync_api.Browser, server: str, live_folder: Path):
    write_many(live_folder / "many")
    tab = Tab(browser, server)
    tab.open("domains", run="many")
    box = tab.page.locator(".stage canvas").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= 900
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.check("light-domains-many")
    whole = tab.page.locator(".stage canvas").screenshot()
    tab.page.mouse.move(x, y)
    tab.page.mouse.wheel(0, -600)
    tab.page.wait_for_timeout(200)
    assert tab.page.locator(".stage canvas").screenshot() != whole
    tab.page.get_by_role("button", name="Whole map").click()
    _point_at_a_sample_with_a_picture(tab, box)
    tab.page.get_by_role("button", name="Lasso").click()
    tab.page.mouse.move(box["x"] + 2, box["y"] + 2)  # round the left half
    tab.page.mouse.down()
    for corner in ((x, box["y"] + 2), (x, box["y"] + box["height"] - 2), (box["x"] + 2, box["y"] + box["height"] - 2)):
        tab.page.mouse.move(*corner, steps=10)
    tab.page.mouse.up()
    tab.page.get_by_text("marked on the map").first.wait_for()
    tab.settle()
    half = tab.page.locator(".chosen").inner_text()
    assert 2900 <= int(re.sub(r"\D", "", half)) <= 3100
    assert tab.address()["selection"].startswith("~")
    tab.check("light-domains-many-selected")
    tab.close()


def _point_at_a_sample_with_a_picture(tab: Tab, box: dict[str, float]) -> None:
    picture = tab.page.locator(".workbench-pictures img:not([hidden])")
    for across in range(20, 60, 2):
        tab.page.mouse.move(box["x"] + box["width"] * across / 100, box["y"] + box["height"] / 2)
        tab.page.wait_for_timeout(400)
        if picture.count():
            return
    raise AssertionError("no picture appeared under the pointer")


def test_a_clicked_cell_is_selected_or_followed(
    browser: sync_api.Browser, server: str, shown: dict[str, str], place: str
):
    tab = Tab(browser, server)
    for page, view, key in (("domains", "Distances", "selection"), ("bias", "Pairs of factors", "selection"),
                            ("conflict", "", "pair")):  # fmt: skip
        tab.open(page, folder=place, run=shown[page])
        if view:
            tab.look_further(view)
        chart = tab.page.locator(".js-plotly-plot .nsewdrag").nth(1 if view else 0)
        chart.scroll_into_view_if_needed()
        box = chart.bounding_box()
        assert box is not None
        for x, y in ((0.9, 0.1), (0.4, 0.1), (0.9, 0.6)):  # the first pair of tasks is the default: not in the address
            tab.page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
            tab.page.wait_for_timeout(400)
            tab.page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
            tab.settle()
            if key in tab.address():
                break
        assert key in tab.address(), f"a click on {page} chose nothing"
    tab.close()
