from __future__ import annotations

from pathlib import Path

import numpy as np

from workbench.core import Run, RunWriter
from workbench.lenses.gallery import thumbnails

PNG = b"\x89PNG\r\n\x1a\n" + b"rest of a picture"


def recorded(folder: Path, **more: object) -> Run:
    with RunWriter(folder, attributes=["colour"]) as writer:
        columns = {"sample": np.arange(4), "domain": np.array(["day", "day", "night", "night"])}
        writer.samples(columns | {"colour": np.array(["red", "blue", "red", "blue"])} | more)
    return Run(folder)


def test_pictures_of_the_chosen_samples_with_their_words(tmp_path: Path):
    run = recorded(tmp_path / "run", thumbnail=[PNG, PNG, b"<svg onload=alert(1)>", PNG])
    found = thumbnails(run, [1, 2], about=("domain", "colour", "domain", "no such column")).set_index("sample")
    assert found.loc[1, "picture"] == PNG
    assert found.loc[2, "picture"] is None  # not a PNG, so never given to a browser
    assert found.loc[1, "words"] == "day, blue"


def test_no_more_than_the_limit_and_none_without_thumbnails(tmp_path: Path):
    found = thumbnails(recorded(tmp_path / "run"), [0, 1, 2, 3], limit=3)
    assert len(found) == 3
    assert all(picture is None for picture in found["picture"])
