"""The pictures of chosen samples as they were recorded, and pictures that a training logged."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import pandas as pd

from workbench.core import Run

#: Pictures a gallery shows at most.
LIMIT = 36
# Pixels of the longer side of a logged picture.
_LARGEST = 4096
_PNG = b"\x89PNG\r\n\x1a\n"


def thumbnails(
    run: Run, samples: Sequence[int], about: Sequence[str] = ("domain",), limit: int = LIMIT
) -> pd.DataFrame:
    """The first samples with their picture and what is known of them.

    Columns: sample, picture (PNG bytes; None where none was recorded or the bytes are no PNG), words (the values of the
    columns in ``about`` that the samples table has, in its words).
    """
    columns = run.columns("samples")
    words = [name for name in dict.fromkeys(about) if name in columns]
    picture = "thumbnail" if "thumbnail" in columns else "NULL AS thumbnail"
    chosen = [int(sample) for sample in samples[:limit]]
    quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in words)
    found = run.query(
        f"SELECT sample, {picture}{', ' + quoted if quoted else ''} FROM samples WHERE sample IN (SELECT unnest($ids))",
        {"ids": chosen},
    )
    pictures = [bytes(item) if _is_png(item) else None for item in found["thumbnail"]]
    lines = [", ".join(_word(value) for value in row) for row in found[words].itertuples(index=False)]
    return pd.DataFrame({"sample": found["sample"], "picture": pictures, "words": lines})


def _word(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _is_png(item: object) -> bool:
    return isinstance(item, (bytes, bytearray)) and bytes(item[: len(_PNG)]) == _PNG


def image_tags(run: Run) -> dict[str, list[int]]:
    """Tag -> steps at which pictures were logged under it."""
    found = run.query("SELECT tag, step FROM images GROUP BY ALL ORDER BY tag, step")
    return {str(tag): steps["step"].tolist() for tag, steps in found.groupby("tag", sort=False)}


def logged_images(run: Run, tag: str, step: int) -> list[bytes]:
    """The pictures of one tag at one step that can be shown: sound PNG, JPEG or GIF files of a sane size."""
    found = run.query("SELECT image FROM images WHERE tag = ? AND step = ? ORDER BY place", [tag, step])
    return [bytes(item) for item in found["image"] if _can_be_shown(bytes(item))]


def _can_be_shown(content: bytes) -> bool:
    from PIL import Image

    try:
        with Image.open(BytesIO(content), formats=("PNG", "JPEG", "GIF")) as image:
            sane = max(image.size) <= _LARGEST
            image.verify()
    except Exception:  # Pillow raises many kinds on damaged bytes; each means that it cannot be shown
        return False
    return sane
