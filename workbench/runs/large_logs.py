"""Logs of any size and of every format, made without the programs themselves: what memory is measured on."""

from __future__ import annotations

import json
import sqlite3
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd


def rows_for(megabytes: float, bytes_a_row: int) -> int:
    """How many rows make a log of about that size."""
    return max(10, int(megabytes * 1e6 / bytes_a_row))


def _transformers(folder: Path, megabytes: float) -> Path:
    return _json(folder, "trainer_state.json", '{"best": 1, "log_history": [', "]}", megabytes, _logged)


def _coco(folder: Path, megabytes: float) -> Path:
    names = json.dumps([{"id": i, "name": f"class {i}"} for i in range(80)])
    before = f'{{"images": [], "categories": {names}, "annotations": ['
    _json(folder, "coco.json", before, "]}", megabytes, _annotation)
    return folder


def _cockpit(folder: Path, megabytes: float) -> Path:
    return _json(
        folder, "log.json", "{", "}", megabytes, lambda i: f'"{i}": {{"GradNorm": [{_numbers(i)}], "Loss": 1}}'
    )


def _logged(i: int) -> str:
    loss, rate, norm = np.random.default_rng(i).random(3)
    return json.dumps({"epoch": i / 100, "grad_norm": norm, "learning_rate": rate, "loss": loss, "step": i})


def _annotation(i: int) -> str:
    box = np.random.default_rng(i).random(4).round(2).tolist()
    return json.dumps(
        {"id": i, "image_id": i // 7, "category_id": i % 80, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
    )


def _numbers(i: int) -> str:
    return ", ".join(map(str, np.random.default_rng(i).random(10)))


def _json(folder: Path, name: str, before: str, after: str, megabytes: float, entry: Callable[[int], str]) -> Path:
    folder.mkdir()
    with (folder / name).open("w", encoding="utf-8") as stream:
        stream.write(before)
        for i in range(rows_for(megabytes, len(entry(1000)) + 2)):
            stream.write((", " if i else "") + entry(i))
        stream.write(after)
    return folder / name


def _curves(megabytes: float, bytes_a_row: int = 62) -> pd.DataFrame:
    n = rows_for(megabytes, bytes_a_row)
    values = np.random.default_rng(0).random((n, 3))
    return pd.DataFrame({"step": np.arange(n), "loss": values[:, 0], "accuracy": values[:, 1], "norm": values[:, 2]})


def _csv(folder: Path, megabytes: float) -> Path:
    folder.mkdir()
    _curves(megabytes).to_csv(folder / "log.csv", index=False)
    return folder / "log.csv"


def _jsonl(folder: Path, megabytes: float) -> Path:
    folder.mkdir()
    _curves(megabytes, 100).to_json(folder / "log.jsonl", orient="records", lines=True)
    return folder / "log.jsonl"


def _parquet(folder: Path, megabytes: float) -> Path:
    folder.mkdir()
    _curves(megabytes, 26).to_parquet(folder / "log.parquet", index=False, row_group_size=2**17)
    return folder / "log.parquet"


def _lightning(folder: Path, megabytes: float) -> Path:
    folder.mkdir()
    _curves(megabytes).to_csv(folder / "metrics.csv", index=False)
    return folder


def _predictions(folder: Path, megabytes: float) -> Path:
    folder.mkdir()
    n = rows_for(megabytes, 30)
    rng = np.random.default_rng(0)
    columns = {"target": rng.integers(10, size=n), "prediction": rng.integers(10, size=n), "confidence": rng.random(n)}
    light = np.array(["day", "night"])[rng.integers(2, size=n)]
    pd.DataFrame(columns | {"light": light}).to_csv(folder / "answers.csv", index=False)
    return folder / "answers.csv"


def _trackio(folder: Path, megabytes: float) -> Path:
    folder.mkdir()
    columns = "id INTEGER PRIMARY KEY, timestamp TEXT, run_name TEXT, step INT, metrics TEXT"
    rows = (("2026-01-01T00:00:00", "a", i, _logged(i)) for i in range(rows_for(megabytes, 145)))
    with closing(sqlite3.connect(folder / "project.db")) as connection, connection:
        connection.execute(f"CREATE TABLE metrics ({columns})")
        connection.executemany("INSERT INTO metrics (timestamp, run_name, step, metrics) VALUES (?, ?, ?, ?)", rows)
    return folder / "project.db"


def _labels(folder: Path, megabytes: float) -> Path:
    folder.mkdir()
    n = rows_for(megabytes, 33)
    label = np.array(["car", "road", "person", "tree"])[np.arange(n) % 4]
    image = np.char.add("image_", (np.arange(n) // 7).astype(str))
    columns = {"dataset": np.where(np.arange(n) % 2, "city", "walk"), "image": image, "label": label}
    weight = np.random.default_rng(0).integers(10_000, size=n)
    pd.DataFrame(columns | {"pixels": weight}).to_csv(folder / "labels.csv", index=False)
    return folder / "labels.csv"


def _answers(folder: Path, megabytes: float, bytes_a_row: int) -> pd.DataFrame:
    """Predictions of two tasks at several steps for samples with names, in an order of their own."""
    folder.mkdir()
    n = rows_for(megabytes, bytes_a_row)
    rng = np.random.default_rng(0)
    columns = {"step": np.arange(n) // (1 + n // 3), "sample": np.char.add("img", rng.integers(n, size=n).astype(str))}
    words = np.array(["cat", "dog", "bird"])
    columns |= {"task": np.where(rng.random(n) < 0.5, "left", "right"), "target": words[rng.integers(3, size=n)]}
    columns |= {"prediction": words[rng.integers(3, size=n)], "confidence": rng.random(n).round(4)}
    return pd.DataFrame(columns | {"age": rng.integers(90, size=n), "light": words[rng.integers(3, size=n)]})


def _answers_csv(folder: Path, megabytes: float) -> Path:
    _answers(folder, megabytes, 40).to_csv(folder / "answers.csv", index=False)
    return folder / "answers.csv"


def _answers_jsonl(folder: Path, megabytes: float) -> Path:
    _answers(folder, megabytes, 130).to_json(folder / "answers.jsonl", orient="records", lines=True)
    return folder / "answers.jsonl"


def _answers_parquet(folder: Path, megabytes: float) -> Path:
    _answers(folder, megabytes, 15).to_parquet(folder / "answers.parquet", row_group_size=2**17)
    return folder / "answers.parquet"


def _wilds(folder: Path, megabytes: float) -> Path:
    folder.mkdir()
    _curves(megabytes).rename(columns={"step": "epoch"}).to_csv(folder / "val_eval.csv", index=False)
    return folder


def _mammoth(folder: Path, megabytes: float) -> Path:
    folder.mkdir()
    accuracies = {f"accuracy_{i}_task{t}": float(i * t % 97) for t in range(1, 41) for i in range(1, t + 1)}
    line = str(accuracies | {f"accmean_task{t}": 0.5 for t in range(1, 41)} | {"model": "er"}) + "\n"
    with (folder / "logs.pyd").open("w", encoding="utf-8") as stream:
        stream.writelines(line for _ in range(rows_for(megabytes, len(line))))
    return folder / "logs.pyd"


def _libmtl(folder: Path, megabytes: float) -> Path:
    folder.mkdir()
    numbers = "0.6931 0.5123 0.8012 | 0.4410 0.1020 0.3321"
    with (folder / "train.log").open("w", encoding="utf-8") as stream:
        stream.write("LOG FORMAT | seg_LOSS mIoU pixAcc | depth_LOSS abs_err rel_err | TIME\n")
        for i in range(rows_for(megabytes, 140)):
            stream.write(f"Epoch: {i:04d} | TRAIN: {numbers} | Time: 9.1000 | TEST: {numbers} | Time: 1.2000\n")
    return folder / "train.log"


def _mlflow(folder: Path, megabytes: float) -> Path:
    (folder / "metrics").mkdir(parents=True)
    (folder / "params").mkdir()
    (folder / "meta.yaml").write_text("run_id: abc\nrun_name: large\n", encoding="utf-8")
    rng = np.random.default_rng(0)
    for name in ("loss", "accuracy", "norm"):
        with (folder / "metrics" / name).open("w", encoding="utf-8") as stream:
            for i in range(rows_for(megabytes / 3, 42)):
                stream.write(f"{1_700_000_000_000 + i} {rng.random()} {i}\n")
    return folder


def _domainbed(folder: Path, megabytes: float) -> Path:
    folder.mkdir()
    arguments = {"algorithm": "ERM", "dataset": "PACS", "test_envs": [1], "seed": 0, "hparams_seed": 0}
    accuracies = {f"env{i}_{split}_acc": 0.123456789 * i for i in range(4) for split in ("in", "out")}
    record = {"args": arguments, "hparams": {"lr": 0.1, "batch_size": 32}, "loss": 0.5} | accuracies
    with (folder / "results.jsonl").open("w", encoding="utf-8") as stream:
        for i in range(rows_for(megabytes, len(json.dumps(record)) + 16)):
            stream.write(json.dumps(record | {"step": i}) + "\n")
    return folder


def _wandb(folder: Path, megabytes: float) -> Path:
    """The log as its client frames it: in blocks of 32 KiB, a record over several of them where it must."""
    folder.mkdir()
    with (folder / "run-abc.wandb").open("wb") as stream:
        stream.write(b":W&B\x00\x00\x00")
        size = 7
        for record in _wandb_records():
            for frame in wandb_frames(record, size):
                size += stream.write(frame)
            if size > megabytes * 1e6:
                return folder
    return folder


def _wandb_records() -> Iterator[bytes]:
    rng = np.random.default_rng(0)
    for step in count():
        values = {"loss": rng.random(), "accuracy": rng.random(), "_step": step, "_timestamp": 1.7e9 + step}
        items = [proto(1, proto(1, name.encode()) + proto(16, str(value).encode())) for name, value in values.items()]
        yield proto(2, b"".join(items))


def proto(number: int, data: bytes) -> bytes:
    """One field of bytes of a protobuf message."""
    out, size = (
        bytearray([number << 3 & 0x7F | 2] if number < 16 else [number << 3 & 0x7F | 0x82, number >> 4]),
        len(data),
    )
    while size > 127:
        out.append(size & 127 | 128)
        size >>= 7
    return bytes([*out, size]) + data


def wandb_frames(record: bytes, position: int) -> Iterator[bytes]:
    """A record as it is written at a position of the log."""
    begin, first = 0, True
    while first or begin < len(record):
        left = 32768 - position % 32768
        if left < 7:
            yield bytes(left)
            position += left
            continue
        piece = record[begin : begin + left - 7]
        begin += len(piece)
        kind = {(True, True): 1, (True, False): 2, (False, False): 3, (False, True): 4}[first, begin >= len(record)]
        yield struct.pack("<IHB", zlib.crc32(bytes([kind]) + piece), len(piece), kind) + piece
        position += 7 + len(piece)
        first = False


def _npy(folder: Path, megabytes: float) -> Path:
    folder.mkdir()
    n = rows_for(megabytes, 4 * 64 + 8)
    np.save(folder / "embeddings.npy", np.random.default_rng(0).random((n, 64), np.float32))
    _metadata(n).to_csv(folder / "metadata.csv", index=False)
    return folder


def _projector(folder: Path, megabytes: float) -> Path:
    folder.mkdir()
    n = rows_for(megabytes, 10 * 16 + 8)
    values = np.random.default_rng(0).random((n, 16)).round(7)
    pd.DataFrame(values).to_csv(folder / "tensors.tsv", sep="\t", header=False, index=False)
    _metadata(n).to_csv(folder / "metadata.tsv", sep="\t", index=False)
    return folder


def _metadata(n: int) -> pd.DataFrame:
    return pd.DataFrame({"domain": np.array(["day", "night"])[np.arange(n) % 2], "label": np.arange(n) % 10})


#: What a log is called -> what writes one of so many MB below a folder, and returns its path.
LOGS: Mapping[str, Callable[[Path, float], Path]] = {
    "Transformers trainer_state.json": _transformers,
    "COCO annotations": _coco,
    "Cockpit log": _cockpit,
    "Trackio project": _trackio,
    "Lightning metrics.csv": _lightning,
    "CSV of scalars": _csv,
    "JSONL of scalars": _jsonl,
    "Parquet of scalars": _parquet,
    "CSV of predictions": _predictions,
    "CSV of predictions, two tasks of named samples": _answers_csv,
    "JSONL of predictions": _answers_jsonl,
    "Parquet of predictions": _answers_parquet,
    "CSV of labels": _labels,
    "Weights & Biases run": _wandb,
    "MLflow run": _mlflow,
    "DomainBed results.jsonl": _domainbed,
    "WILDS val_eval.csv": _wilds,
    "Mammoth logs.pyd": _mammoth,
    "LibMTL output": _libmtl,
    "embeddings.npy with metadata": _npy,
    "TensorBoard projector's tensors.tsv": _projector,
}
