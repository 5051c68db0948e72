"""Every reader, fed damaged logs: data or one clear error that names the file, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_logs import LOGS

from workbench import open_runs
from workbench.core import RunFormatError
from workbench.runs import FORMATS
from workbench.runs.checkpoint_files import of_run
from workbench.runs.checkpoint_series import series

#: Formats whose 10,000 "tags" are rows, classes or tensors: where they land.
ELSEWHERE = {
    "vectors": "samples",
    "vectors.npz": "samples",
    "annotations": "label_counts",
    "table": "predictions",
}
_NUMBER = re.compile(rb"(?<![\w.])\d+(\.\d+)?(?![\w.])")
_HUGE = (
    b"1e400",
    b"-1e308",
    b"9" * 40,
    b"9" * 400,
    b"-" + b"9" * 25,
    b"NaN",
    b"Infinity",
    b"0x7f",
    b"1e-400",
    b"18446744073709551616",
)
_SEPARATORS = (b",", b"\t", b"|", b" ", b'"', b":", b"\n")


@st.composite
def damages(draw, content: bytes) -> bytes:
    """One damage: a cut, a flipped, inserted or repeated stretch, another encoding, swapped columns, a huge number."""
    data = bytearray(content)
    kind = draw(st.sampled_from(["cut", "flip", "insert", "repeat", "recode", "mix", "swap", "huge"]))
    place = draw(st.integers(0, len(data) - 1))
    if kind == "cut":
        return bytes(data[:place])
    if kind == "flip":
        data[place] ^= draw(st.integers(1, 255))
    elif kind == "insert":
        data[place:place] = draw(st.binary(max_size=20))
    elif kind == "repeat":
        data[place:place] = data * draw(st.integers(1, 5))
    elif kind == "recode":
        text = content.decode("utf-8", "replace")
        return text.encode(draw(st.sampled_from(["utf-16", "utf-8-sig", "utf-32", "cp037"])), "replace")
    elif kind == "mix":
        data[place:place] = draw(st.text(min_size=1, max_size=5)).encode(
            draw(st.sampled_from(["utf-16", "utf-8"])), "replace"
        )
    elif kind == "swap":
        separator = draw(st.sampled_from([item for item in _SEPARATORS if item in content] or [b"\x00"]))
        pieces = content.split(separator)
        one, other = (draw(st.integers(0, len(pieces) - 1)) for _ in range(2))
        pieces[one], pieces[other] = pieces[other], pieces[one]
        return separator.join(pieces)
    else:
        found = list(_NUMBER.finditer(content))
        if found:
            match = found[draw(st.integers(0, len(found) - 1))]
            data[match.start() : match.end()] = draw(st.sampled_from(_HUGE))
    return bytes(data)


def test_every_format_is_fuzzed():
    assert {name.partition(".")[0] for name in LOGS} == {item.slug for item in FORMATS}


@pytest.mark.parametrize("name", LOGS)
@settings(max_examples=25)
@given(data=st.data())
def test_damage_ends_in_data_or_in_one_clear_error(name, tmp_path_factory, data):
    base = tmp_path_factory.mktemp("log")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_CACHE_DIR", str(base / "cache"))
        LOGS[name](base / "log", 3)
        files = sorted(file for file in (base / "log").rglob("*") if file.is_file())
        file = data.draw(st.sampled_from(files), label="file")
        file.write_bytes(data.draw(damages(file.read_bytes())))
        _read_everything(base / "log")


@pytest.mark.parametrize("name", LOGS)
def test_ten_thousand_tags_are_all_read(name, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path / "cache"))
    tags = 1000 if name == "mlflow" else 10_000  # one file a tag
    LOGS[name](tmp_path / "log", tags)
    run = next(iter(dict(open_runs(tmp_path / "log").items()).values()))
    if name.startswith("weights"):
        overall, _ = series(of_run(run))
        assert overall["tensors"].tolist() == [tags]
        return
    table = ELSEWHERE.get(name, "scalars")
    counted = "count(*)" if table != "scalars" else "count(DISTINCT tag)"
    assert int(run.query(f"SELECT {counted} AS n FROM {table}")["n"].iloc[0]) >= tags


def _read_everything(folder: Path) -> None:
    for _, run in open_runs(folder).items():
        try:
            for table in run.tables:
                for part in run.parts(table):
                    assert pq.read_table(part).num_rows > 0
            for name in run.array_names:
                for step in run.array_steps(name):
                    run.array(name, step)
            assert run.info.name
            assert all(str(problem) for problem in run.problems)
            series(of_run(run))
        except RunFormatError as error:
            assert str(folder) in str(error)
            assert "\n" not in str(error).split("Give a run folder")[0].strip()
