"""A sweep opened as runs is summed up as DomainBed prints it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from workbench import open_runs
from workbench.cli import main
from workbench.lenses.domains.sweep import RULES, sweep_table

REAL = Path(__file__).resolve().parents[3] / "shared" / "real_runs" / "domainbed-vlcs-sweep"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path / "cache"))


def _record(test_envs, trial, accuracy):
    arguments = {"algorithm": "ERM", "dataset": "PACS", "test_envs": test_envs, "trial_seed": trial, "hparams_seed": 0}
    accuracies = {f"env{i}_{split}_acc": accuracy for i in range(4) for split in ("in", "out")}
    return json.dumps({"args": arguments, "step": 10, **accuracies})


def test_two_trials_give_a_mean_and_a_standard_error(tmp_path):
    for trial, accuracy in ((0, 0.5), (1, 0.7)):
        folder = tmp_path / "sweep" / str(trial)
        folder.mkdir(parents=True)
        (folder / "results.jsonl").write_text(_record([2], trial, accuracy) + "\n")
    table = sweep_table(dict(open_runs(tmp_path / "sweep").items())).set_index("rule")
    # Mean of 50 and 70; population standard deviation 10 over sqrt(2).
    assert table.loc[RULES["training-domain"], "P"] == "60.0 ± 7.1"
    done = CliRunner().invoke(main, ["sweep", str(tmp_path / "sweep"), "--json"])
    assert "60.0 ± 7.1" in done.output


def test_a_folder_without_a_sweep_says_so(tmp_path):
    assert sweep_table({}).empty
    done = CliRunner().invoke(main, ["sweep", str(tmp_path)])
    assert done.exit_code == 1
    assert "There is no DomainBed run in" in done.output


@pytest.mark.skipif(not REAL.is_dir(), reason="the folder of real runs is not beside this checkout")
def test_the_real_sweep_equals_domainbeds_own_table():
    table = sweep_table(dict(open_runs(REAL).items())).set_index("rule")
    text = (REAL / "results.txt").read_text()
    for rule in RULES.values():
        block = text.split(f"Dataset: VLCS, model selection method: {rule}")[1]
        line = next(line for line in block.splitlines() if line.startswith("ERM"))
        cells = [cell.strip() for cell in line.removeprefix("ERM").replace("+/-", "±").split("  ") if cell.strip()]
        assert table.loc[rule, ["C", "L", "S", "V"]].tolist() == cells[:4]
        assert table.loc[rule, "Avg"].split(" ±")[0] == cells[4]
