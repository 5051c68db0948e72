"""Embeddings with a metadata table open straight in the domains lens."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from workbench import open_run, open_runs
from workbench.core import RunFormatError, validate

VALUES = np.arange(12.0).reshape(4, 3)
METADATA = pd.DataFrame(
    {"domain": ["a", "a", "b", "b"], "label": ["x", "y", "x", "y"], "light": ["dim", "dim", "lit", "lit"]}
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE_DIR", str(tmp_path / "cache"))


@pytest.mark.parametrize("kind", ["npy", "npz", "safetensors", "parquet", "projector"])
def test_every_array_format_opens(tmp_path, kind):
    folder = tmp_path / "vectors"
    folder.mkdir()
    write = {
        "npy": lambda: np.save(folder / "embeddings.npy", VALUES),
        "npz": lambda: np.savez(folder / "embeddings.npz", embeddings=VALUES),
        "safetensors": lambda: save_file({"embeddings": VALUES}, folder / "embeddings.safetensors"),
        "parquet": lambda: pd.DataFrame(VALUES, columns=list("xyz")).to_parquet(folder / "embeddings.parquet"),
        "projector": lambda: np.savetxt(folder / "tensors.tsv", VALUES, delimiter="\t"),
    }
    write[kind]()
    METADATA.to_csv(folder / "metadata.tsv", sep="\t", index=False)
    run = open_runs(tmp_path)["vectors"]
    values, samples = run.embedding("embeddings", 0)
    np.testing.assert_array_equal(values, VALUES)
    table = run.table("samples").set_index("sample").loc[samples]
    assert table["domain"].tolist() == ["a", "a", "b", "b"]
    assert table["target_label"].tolist() == [0, 1, 0, 1]
    assert run.attribute_names == ("light",)
    assert run.domain_names == ("a", "b")
    assert validate(run.path) == []


def test_rows_that_do_not_match_are_named(tmp_path):
    np.save(tmp_path / "embeddings.npy", VALUES[:3])
    METADATA.to_csv(tmp_path / "metadata.csv", index=False)
    with pytest.raises(RunFormatError, match=r"has 3 rows, metadata\.csv has 4"):
        open_run(tmp_path).table("samples")


def test_a_pickled_array_is_refused(tmp_path):
    np.save(tmp_path / "embeddings.npy", np.array([{"a": 1}] * 4, dtype=object), allow_pickle=True)
    METADATA.to_csv(tmp_path / "metadata.csv", index=False)
    with pytest.raises(RunFormatError, match=r"embeddings\.npy is not a readable array file"):
        open_run(tmp_path).table("samples")


def test_a_cut_archive_is_named(tmp_path):
    np.savez(tmp_path / "embeddings.npz", layer=VALUES)
    data = (tmp_path / "embeddings.npz").read_bytes()
    (tmp_path / "embeddings.npz").write_bytes(data[: len(data) // 2])
    METADATA.to_csv(tmp_path / "metadata.csv", index=False)
    with pytest.raises(RunFormatError, match=r"embeddings\.npz is not a readable array file"):
        open_run(tmp_path).table("samples")
