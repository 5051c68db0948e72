"""The run card says what was trained on what, and what the lenses say; names from a run cannot break it."""

from __future__ import annotations

import json

from click.testing import CliRunner

from workbench.cli import main
from workbench.core import Run, RunWriter
from workbench.lenses import LENSES
from workbench.reports import card, card_markdown


def _record(path, name="mine", colour="red"):
    with RunWriter(path, name=name, question="why?", tasks=["digit"], config={"lr": 0.1, "net": {"depth": 3}}) as rec:
        rec.scalars(0, {"loss": 1.0})
        rec.samples({"sample": [1, 0], "colour": [colour, "green"], "thumbnail": [b"a", b"b"]})
        rec.update(summary={"accuracy": 0.91234})
    return Run(path)


def test_the_card_holds_what_run_json_and_the_lenses_say(tmp_path):
    run = _record(tmp_path / "run")
    content = card(run)
    assert content["trained"]["config"] == {"lr": 0.1, "net": {"depth": 3}}
    assert content["recorded"] == {"scalars": 1, "samples": 2}
    assert {verdict["lens"] for verdict in content["verdicts"]} == {lens.slug for lens in LENSES}
    json.dumps(content)
    text = card_markdown(run)
    assert "| config.net.depth | 3 |" in text
    assert "| accuracy | 0.9123 |" in text


def test_the_digest_depends_on_the_data_and_on_nothing_else(tmp_path):
    first, same, other = (
        _record(tmp_path / name, name=name, colour=colour)
        for name, colour in (("a", "red"), ("b", "red"), ("c", "blue"))
    )
    assert card(first)["data_digest"] == card(same)["data_digest"] != card(other)["data_digest"]


def test_names_from_a_run_cannot_become_markup(tmp_path):
    text = card_markdown(_record(tmp_path / "run", name="<script>|`x`"))
    assert "<script>" not in text.replace("\\<", "")


def test_the_command_prints_or_writes_it(tmp_path):
    _record(tmp_path / "run")
    done = CliRunner().invoke(main, ["export", str(tmp_path / "run"), "--to", "card"])
    assert done.exit_code == 0
    assert done.output.startswith("# mine")
    done = CliRunner().invoke(
        main, ["export", str(tmp_path / "run"), "--to", "card", "--json", "--out", str(tmp_path / "out")]
    )
    assert json.loads(done.output)["files"] == [str(tmp_path / "out" / "card.json")]
    assert json.loads((tmp_path / "out" / "card.json").read_text())["name"] == "mine"
    done = CliRunner().invoke(main, ["export", str(tmp_path / "run"), "--to", "csv"])
    assert done.exit_code == 2
    assert "--out is needed" in done.output
