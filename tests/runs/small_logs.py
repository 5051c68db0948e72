"""A small sound log of every format, made without the programs themselves, to be damaged by the tests."""

from __future__ import annotations

import io
import json
import sqlite3
import struct
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from safetensors.numpy import save

from workbench.core import RunWriter
from workbench.runs import open_run
from workbench.runs.export import export


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def tensorboard(folder: Path, tags: int = 3) -> None:
    run = folder.parent / f"{folder.name}-run"
    with RunWriter(run) as rec:
        rec.write("scalars", {"step": [1] * tags, "tag": names(tags), "value": [0.5] * tags, "wall_time": 1.7e9})
    export(open_run(run), folder, "tensorboard")


def wandb(folder: Path, tags: int = 3) -> None:
    """The log as its client frames it: blocks of 32 KiB with records that may span several of them."""
    items = [field(1, field(1, name.encode()) + field(16, b"0.5")) for name in names(tags)]
    history = field(2, b"".join(items) + field(2, b"\x08\x01"))
    data = bytearray(b":W&B\x00\x00\x00")
    position, first = 0, True
    while first or position < len(history):
        left = 32768 - len(data) % 32768
        if left < 7:
            data += bytes(left)
            continue
        piece = history[position : position + left - 7]
        position += len(piece)
        kind = {(True, True): 1, (True, False): 2, (False, False): 3, (False, True): 4}[first, position >= len(history)]
        crc = zlib.crc32(bytes([kind]) + piece)
        data += struct.pack("<IHB", crc, len(piece), kind) + piece
        first = False
    put(folder / "run-abc.wandb", bytes(data))


def trackio(folder: Path, tags: int = 3) -> None:
    folder.mkdir(parents=True)
    with closing(sqlite3.connect(folder / "project.db")) as connection, connection:
        connection.execute(
            "CREATE TABLE metrics (id INTEGER PRIMARY KEY, timestamp TEXT, run_name TEXT, step INT, metrics TEXT)"
        )
        row = ("2026-01-01T00:00:00", "a", 1, json.dumps(dict.fromkeys(names(tags), 0.5)))
        connection.execute("INSERT INTO metrics (timestamp, run_name, step, metrics) VALUES (?, ?, ?, ?)", row)


def lightning(folder: Path, tags: int = 3) -> None:
    put(folder / "metrics.csv", f"step,{','.join(names(tags))}\n1{',0.5' * tags}\n2{',0.25' * tags}\n")
    put(folder / "hparams.yaml", "lr: 0.1\na: !!python/name:x.y\n")


def transformers(folder: Path, tags: int = 3) -> None:
    history = [{"step": 1} | dict.fromkeys(names(tags), 0.5), {"step": 2, "loss": 1e308, "x": "ü"}]
    put(folder / "trainer_state.json", json.dumps({"best": 1, "log_history": history}))


def domainbed(folder: Path, tags: int = 3) -> None:
    arguments = {"algorithm": "ERM", "dataset": "VLCS", "test_envs": [1]}
    record = json.dumps({"args": arguments, "step": 3, "env0_in_acc": 0.5} | dict.fromkeys(names(tags), 0.5))
    put(folder / "results.jsonl", f"{record}\n{record}\n")


def mlflow(folder: Path, tags: int = 3) -> None:
    put(folder / "meta.yaml", "run_id: abc\nrun_name: x\n")
    put(folder / "params" / "lr", "0.1")
    for name in names(tags):
        put(folder / "metrics" / name, "1 0.5 0\n2 0.25 1\n")


def mlflow_database(folder: Path, tags: int = 3) -> None:
    folder.mkdir(parents=True)
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection, connection:
        connection.executescript(
            "CREATE TABLE runs (run_uuid TEXT, name TEXT, lifecycle_stage TEXT, start_time INT);"
            "CREATE TABLE metrics (key TEXT, value REAL, timestamp INT, run_uuid TEXT, step INT, is_nan INT);"
            "CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT);"
            "CREATE TABLE tags (key TEXT, value TEXT, run_uuid TEXT);"
            "INSERT INTO runs VALUES ('abc', 'x', 'active', 1), ('def', 'y', 'deleted', 2);"
            "INSERT INTO params VALUES ('lr', '0.1', 'abc')"
        )
        rows = [(name, 0.5, 1_700_000_000_000, "abc", 1, 0) for name in names(tags)]
        connection.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", rows)


def wilds(folder: Path, tags: int = 3) -> None:
    put(folder / "val_eval.csv", f"epoch,{','.join(names(tags))}\n0{',0.5' * tags}\n1{',0.75' * tags}\n")


def mammoth(folder: Path, tags: int = 3) -> None:
    logged = {f"accuracy_{i}_task1": 0.5 for i in range(tags)} | {"accmean_task1": 0.5, "model": "er", "seed": 1}
    put(folder / "logs.pyd", f"{logged}\n{logged}\n")


def libmtl(folder: Path, tags: int = 3) -> None:
    numbers = " 0.5" * tags
    put(folder / "train.log", f"LOG FORMAT | {' '.join(names(tags))} | TIME\nEpoch: 0001 | TRAIN:{numbers} | Time: 1\n")


def cockpit(folder: Path, tags: int = 3) -> None:
    put(folder / "log.json", json.dumps({"0": {"GradNorm": [0.5, 1.5]} | dict.fromkeys(names(tags), 0.5)}))


def vectors(folder: Path, tags: int = 3) -> None:
    put(folder / "tensors.tsv", "\n".join("\t".join(["0.5"] * 2) for _ in range(tags)) + "\n")
    put(folder / "metadata.tsv", "domain\tlabel\n" + "".join(f"{'ab'[i % 2]}\tx{i}\n" for i in range(tags)))


def vectors_npz(folder: Path, tags: int = 3) -> None:
    stream = io.BytesIO()
    np.savez(stream, layer=np.ones((tags, 2), np.float32))
    put(folder / "embeddings.npz", stream.getvalue())
    put(folder / "metadata.csv", "domain\n" + "a\n" * tags)


def annotations(folder: Path, tags: int = 3) -> None:
    categories = [{"id": i, "name": name} for i, name in enumerate(names(tags))]
    found = [{"image_id": i, "category_id": i, "bbox": [0, 0, 2, 3]} for i in range(tags)]
    put(folder / "coco.json", json.dumps({"images": [], "annotations": found, "categories": categories}))
    put(folder / "road" / "a.xml", "<annotation><object><name>car</name></object></annotation>")
    stream = io.BytesIO()
    Image.fromarray(np.eye(4, dtype=np.uint8)).save(stream, "PNG")
    put(folder / "walk" / "a.png", stream.getvalue())
    put(folder / "walk" / "classes.txt", "road\nwalk\n")


def table(folder: Path, tags: int = 3) -> None:
    header = "target,prediction,domain,colour\n"
    put(folder / "answers.csv", header + "".join(f"{i % 2},1,{'ab'[i % 2]},c{i}\n" for i in range(tags)))


def table_jsonl(folder: Path, tags: int = 3) -> None:
    put(folder / "log.jsonl", json.dumps({"step": 1} | dict.fromkeys(names(tags), 0.5)) + "\n")


def table_parquet(folder: Path, tags: int = 3) -> None:
    stream = io.BytesIO()
    pd.DataFrame({"step": [1]} | {name: [0.5] for name in names(tags)}).to_parquet(stream)
    put(folder / "log.parquet", stream.getvalue())


def weights(folder: Path, tags: int = 3) -> None:
    put(folder / "model.safetensors", save({name: np.ones(2, np.float32) for name in names(tags)}))


def weights_torch(folder: Path, tags: int = 3) -> None:
    stream = io.BytesIO()
    torch.save({name: torch.ones(2) for name in names(tags)}, stream)
    put(folder / "epoch=1-step=2.ckpt", stream.getvalue())


def names(tags: int) -> list[str]:
    return [f"tag_{i}" for i in range(tags)]


def put(file: Path, content: str | bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)


#: Slug of the format, perhaps with a variant behind a dot -> what writes a log with so many tags below a folder.
LOGS: dict[str, Callable[[Path, int], None]] = {
    "domainbed": domainbed,
    "transformers": transformers,
    "lightning": lightning,
    "wandb": wandb,
    "mlflow": mlflow,
    "mlflow-database": mlflow_database,
    "trackio": trackio,
    "wilds": wilds,
    "mammoth": mammoth,
    "libmtl": libmtl,
    "cockpit": cockpit,
    "vectors": vectors,
    "vectors.npz": vectors_npz,
    "annotations": annotations,
    "tensorboard": tensorboard,
    "table": table,
    "table.jsonl": table_jsonl,
    "table.parquet": table_parquet,
    "weights": weights,
    "weights.torch": weights_torch,
}
