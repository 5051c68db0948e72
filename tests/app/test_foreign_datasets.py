"""Label annotations and embeddings of other programs open straight in the labels lens and the domains lens."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
from PIL import Image


def _coco(folder, name, categories):
    annotations = [
        {"image_id": i, "category_id": i % len(categories), "bbox": [0, 0, 4, 3], "area": 12} for i in range(60)
    ]
    named = [{"id": i, "name": category} for i, category in enumerate(categories)]
    content = {"images": [], "annotations": annotations, "categories": named}
    (folder / f"{name}.json").write_text(json.dumps(content))


def test_coco_voc_and_label_images_open_in_the_labels_lens(tmp_path, open_app):
    folder = tmp_path / "sets" / "streets"
    folder.mkdir(parents=True)
    _coco(folder, "city", ["road", "walk", "car"])
    _coco(folder, "coast", ["road", "path", "car"])
    (folder / "country").mkdir()
    (folder / "images").mkdir()
    for i in range(20):
        box = "<bndbox><xmin>0</xmin><xmax>4</xmax><ymin>0</ymin><ymax>3</ymax></bndbox>"
        objects = "".join(f"<object><name>{name}</name>{box}</object>" for name in ("road", "tree"))
        (folder / "country" / f"{i}.xml").write_text(f"<annotation>{objects}</annotation>")
        Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4) % 2).save(folder / "images" / f"{i}.png")
    (folder / "images" / "classes.txt").write_text("road\nsky\n")
    app = open_app(tmp_path / "sets", run="streets").switch_page("views/labels.py").run()
    assert not app.exception
    assert not app.error
    assert app.get("plotly_chart")
    shown = " ".join(str(item.value) for item in [*app.markdown, *app.caption]) + " ".join(
        frame.value.to_csv() for frame in app.dataframe
    )
    for name in ("city", "coast", "country", "images"):
        assert name in shown


def test_embeddings_with_a_metadata_table_open_in_the_domains_lens(tmp_path, open_app):
    folder = tmp_path / "sets" / "photos"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    domain = np.repeat(["day", "night"], 60)
    values = rng.normal(size=(120, 8)) + 3.0 * (domain == "night")[:, None]
    np.save(folder / "embeddings.npy", values.astype(np.float32))
    columns = {"domain": domain, "label": np.tile(["cat", "dog"], 60)}
    pd.DataFrame(columns).to_csv(folder / "metadata.csv", index=False)
    app = open_app(tmp_path / "sets", run="photos").switch_page("views/domains.py").run()
    assert not app.exception
    assert not app.error
    assert app.get("plotly_chart")
