import json
import re
from pathlib import Path

import numpy as np
import pytest

from workbench.lenses.domains.selection import AVERAGE, chosen_models, selection_table

SWEEP = Path(__file__).parents[3] / "shared" / "real_runs" / "domainbed-vlcs-sweep"


def _record(test_envs, step, hparams_seed, accuracies, trial=0):
    """``accuracies``: (in, out) per environment."""
    args = {"trial_seed": trial, "dataset": "Toy", "algorithm": "ERM", "test_envs": test_envs}
    record = {"args": args | {"hparams_seed": hparams_seed}, "step": step}
    for i, (inside, outside) in enumerate(accuracies):
        record |= {f"env{i}_in_acc": inside, f"env{i}_out_acc": outside}
    return record


def _toy():
    # Three environments, test environment 0, two runs. Validation on the out splits of 1 and 2:
    # run 0: step 0 (0.6), step 1 (0.8); run 1: step 0 (0.7), step 1 (0.5). On out of 0 at the last step: 0.3, 0.9.
    yield _record([0], 0, 0, [(0.11, 0.5), (0.0, 0.6), (0.0, 0.6)])
    yield _record([0], 1, 0, [(0.22, 0.3), (0.0, 0.8), (0.0, 0.8)])
    yield _record([0], 0, 1, [(0.33, 0.1), (0.0, 0.7), (0.0, 0.7)])
    yield _record([0], 1, 1, [(0.44, 0.9), (0.0, 0.5), (0.0, 0.5)])
    # Leave one out: run 1 at step 0 has models without {0, 1} and {0, 2}: (0.6 + 0.8) / 2; run 0 lacks {0, 2}.
    yield _record([0, 1], 0, 1, [(0.0, 0.0), (0.6, 0.0), (0.0, 0.0)])
    yield _record([2, 0], 0, 1, [(0.0, 0.0), (0.0, 0.0), (0.8, 0.0)])
    yield _record([0, 1], 0, 0, [(0.0, 0.0), (0.9, 0.0), (0.0, 0.0)])


def test_each_rule_picks_its_own_checkpoint():
    chosen = chosen_models(_toy()).query("environment == 0").set_index("rule")
    assert chosen.loc["training-domain", ["hparams_seed", "step", "test"]].tolist() == [0, 1, 0.22]
    assert chosen.loc["training-domain", "validation"] == pytest.approx(0.8)
    assert chosen.loc["leave-one-out", ["hparams_seed", "step", "test"]].tolist() == [1, 0, 0.33]
    assert chosen.loc["leave-one-out", "validation"] == pytest.approx(0.7)
    assert chosen.loc["oracle", ["hparams_seed", "step", "test"]].tolist() == [1, 1, 0.44]


def test_environments_that_were_never_alone_have_no_row():
    assert set(chosen_models(_toy())["environment"]) == {0}
    assert selection_table([]).empty


def test_mean_and_error_over_trials_and_environments():
    records = []
    for trial, shift in enumerate((0.0, 0.2)):
        records.append(_record([0], 5, 0, [(0.5 + shift, 0.5), (0.0, 0.5)], trial))
        records.append(_record([1], 5, 0, [(0.0, 0.5), (0.7 - shift, 0.5)], trial))
    table = selection_table(records, {"Toy": ("sketch", "photo")})
    rows = table[table["rule"] == "oracle"].set_index("environment")
    assert rows["accuracy"].to_dict() == pytest.approx({"sketch": 60, "photo": 60, AVERAGE: 60})
    # Trials 0.5 and 0.7: population deviation 0.1 over sqrt(2); the averages of both trials are 0.6.
    assert rows["error"].to_dict() == pytest.approx({"sketch": 10 / np.sqrt(2), "photo": 10 / np.sqrt(2), AVERAGE: 0})
    assert (rows["trials"] == 2).all()


def _published(text: str) -> dict[str, dict[str, str]]:
    """Rule -> column -> cell, from the printed tables."""
    rules = {"training-domain": "training-domain", "leave-one-domain-out": "leave-one-out", "test-domain": "oracle"}
    tables = {}
    for title, header, row in re.findall(r"Dataset: VLCS, model selection method: (\S+).*\n(.*)\n(.*)\n", text):
        cells = re.findall(r"\d+\.\d \+/- \d+\.\d|\d+\.\d", row)
        tables[rules[title]] = dict(zip(header.split()[1:], cells, strict=True))
    for title, row in re.findall(r"Averages, model selection method: (\S+).*\n.*\n(.*)\n", text):
        tables[rules[title]]["averages"] = re.findall(r"\d+\.\d \+/- \d+\.\d", row)[0]
    return tables


@pytest.mark.skipif(not SWEEP.is_dir(), reason="the published sweep is not on this machine")
def test_a_published_sweep_is_reproduced_digit_for_digit():
    records = [json.loads(line) for file in SWEEP.glob("*/results.jsonl") for line in file.read_text().splitlines()]
    assert len(records) == 200
    table = selection_table(records, {"VLCS": ("C", "L", "S", "V")})
    published = _published((SWEEP / "results.txt").read_text())
    assert set(published) == {"training-domain", "leave-one-out", "oracle"}
    for rule, cells in published.items():
        rows = table[table["rule"] == rule].set_index("environment")
        printed = {name: f"{row.accuracy:.1f} +/- {row.error:.1f}" for name, row in rows.iterrows()}
        assert printed[AVERAGE] == cells.pop("averages")
        assert printed[AVERAGE].split()[0] == cells.pop("Avg")
        assert {name: printed[name] for name in cells} == cells
