"""Every reader, fed damaged logs: data or one clear error that names the file, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import open_runs
from workbench.core import RunFormatError

_STATE = json.dumps({"best": 1, "log_history": [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 1e308, "x": "ü"}]})
_RECORD = json.dumps({"args": {"algorithm": "ERM", "dataset": "VLCS", "test_envs": [1]}, "step": 3, "env0_in_acc": 0.5})
LOGS = {
    "lightning": {
        "metrics.csv": "epoch,step,loss\n0,1,0.5\n0,2,1e400\n",
        "hparams.yaml": "lr: 0.1\na: !!python/name:x.y\n",
    },
    "transformers": {"trainer_state.json": _STATE},
    "domainbed": {"results.jsonl": f"{_RECORD}\n{_RECORD}\n"},
    "mlflow": {"meta.yaml": "run_id: abc\nrun_name: x\n", "metrics/loss": "1 0.5 0\n2 0.25 1\n", "params/lr": "0.1"},
    "wilds": {"val_eval.csv": "epoch,acc_avg\n0,0.5\n1,0.75\n"},
    "vectors": {"tensors.tsv": "1\t2\n3\t4\n", "metadata.tsv": "domain\tlabel\na\tx\nb\ty\n"},
    "labels": {"road/a.xml": "<annotation><object><name>car</name></object></annotation>"},
}


@st.composite
def damages(draw, content: str) -> bytes:
    data = bytearray(content.encode())
    kind = draw(st.sampled_from(["cut", "flip", "insert", "repeat", "recode"]))
    place = draw(st.integers(0, len(data) - 1))
    if kind == "cut":
        return bytes(data[:place])
    if kind == "flip":
        data[place] ^= draw(st.integers(1, 255))
    elif kind == "insert":
        data[place:place] = draw(st.binary(max_size=20))
    elif kind == "repeat":
        data[place:place] = data * draw(st.integers(1, 20))
    else:
        return content.encode(draw(st.sampled_from(["utf-16", "utf-8-sig", "utf-32"])))
    return bytes(data)


@pytest.mark.parametrize("name", LOGS)
@settings(max_examples=30)
@given(data=st.data())
def test_damage_ends_in_data_or_in_one_clear_error(name, tmp_path_factory, data):
    base = tmp_path_factory.mktemp(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_CACHE_DIR", str(base / "cache"))
        folder = base / "log"
        files = LOGS[name]
        damaged = data.draw(st.sampled_from(sorted(files)))
        for file, content in files.items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.draw(damages(content)) if file == damaged else content.encode())
        _read_everything(folder)


def _read_everything(folder: Path) -> None:
    for _, run in open_runs(folder).items():
        try:
            run.query("SELECT count(*) FROM scalars")
            run.query("SELECT count(*) FROM samples")
            assert run.info.name
        except RunFormatError as error:
            assert str(folder) in str(error)
            assert "\n" not in str(error).split("Give a run folder")[0].strip()
