"""The map of many points: what the page sends to the browser, and what it makes of a lasso and of a pointer."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import pytest
from cloud_runs import write_many
from streamlit.testing.v1 import AppTest

from workbench.cli.app import app_script
from workbench.core import ConfigError, Run
from workbench.lenses.domains.statistics import statistics

OpenApp = Callable[..., AppTest]
N = 6000


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("many")
    write_many(root / "many", N)
    return root


@pytest.fixture(autouse=True)
def modules_of_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(app_script().parent)


def components(app: AppTest) -> dict[str, object]:
    assert not app.exception, [element.value for element in app.exception]
    return {item.proto.component_name: item.proto for item in app.get("bidi_component")}


def test_many_points_are_drawn_by_the_component_and_few_by_plotly(open_app: OpenApp, folder: Path, many: Path):
    app = open_app(many, run="many").switch_page("views/domains.py").run()
    shown = components(app)
    assert set(shown) == {"workbench_cloud", "workbench_pictures"}
    assert len(shown["workbench_cloud"].bytes) > 19 * N
    app = open_app(folder, run="whole").switch_page("views/domains.py").run()
    assert set(components(app)) == {"workbench_pictures"}


def test_the_map_over_training_has_a_job_of_its_own(open_app: OpenApp, folder: Path, monkeypatch: pytest.MonkeyPatch):
    from workbench.lenses.domains import map_jobs

    asked = []

    def find_only(slices, **_: object):
        asked.append(len(slices) if isinstance(slices, list) else 1)
        return map_jobs.find_map(slices)

    monkeypatch.setattr(map_jobs, "start_map", find_only)
    for view, jobs in (("matrix", [1]), ("aligned", [1, 2])):
        asked.clear()
        app = open_app(folder, run="whole", method="umap", view=view).switch_page("views/domains.py")
        app.query_params["method"], app.query_params["view"] = "umap", view
        components(app.run())
        assert asked == jobs


def test_a_lasso_takes_the_shown_points_inside_it(many: Path):
    import cloud
    from workbench.lenses.domains.dots import dots_of

    stats = statistics(Run(many / "many"), permutations=19)
    dots = dots_of(stats, stats.clouds.layout("trunk", 0))
    assert len(dots.sample) == N
    (left, low), (right, high) = dots.xy.min(axis=0) - 1, dots.xy.max(axis=0) + 1
    everything = [[left, low], [right, low], [right, high], [left, high]]
    assert sorted(cloud.lassoed(dots, {"polygon": everything, "hidden": []})) == list(range(N))
    assert {s // 2 % 2 for s in cloud.lassoed(dots, {"polygon": everything, "hidden": [0]})} == {1}
    far = [[right + 1, low], [right + 2, low], [right + 2, high]]
    assert cloud.lassoed(dots, {"polygon": far}) == []


@pytest.mark.parametrize(
    "drawn",
    [None, {}, {"polygon": "all"}, {"polygon": [[0, 0], [1, 1]]}, {"polygon": [[0, 0], [1, 1], [None, 2]]},
     {"polygon": [[0, 0, 0]] * 5}, {"polygon": [[0, 0], [1, float("inf")], [1, 0]]}],
)  # fmt: skip
def test_what_is_no_loop_is_refused(many: Path, drawn: object):
    import cloud
    from workbench.lenses.domains.dots import dots_of

    stats = statistics(Run(many / "many"), permutations=19)
    with pytest.raises(ConfigError):
        cloud.lassoed(dots_of(stats, stats.clouds.layout("trunk", 0)), drawn)


def test_the_pointer_gets_pictures_of_samples_that_have_one(many: Path):
    import hover

    run = Run(many / "many")
    answer = hover.found(run, [4, 7.0, 10**9], ("domain",))
    assert b64decode(answer["4"]["picture"]).startswith(b"\x89PNG")
    assert answer["4"]["words"] == "day"
    assert answer["7"] == {"picture": None, "words": "night"}
    assert answer[str(10**9)] == {"picture": None, "words": ""}
    assert hover.found(run, None, ("domain",)) == hover.found(run, ["x"], ()) == {}
    assert len(hover.found(run, list(range(5000)), ())) == hover.MOST
