"""Annotated datasets for the labels lens: COCO files, Pascal VOC folders, and folders of label images.

A folder is one run; each dataset in it is one COCO file (``*.json``), one sub-folder with VOC files (``*.xml``), or one
sub-folder with label images (``*.png``) and the names of their values in ``classes.txt``, one a line from value 0.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree

import numpy as np

from workbench.core import Dataset, Problem, RunFormatError, RunWriter
from workbench.runs.format import Format
from workbench.runs.json_stream import members

_HEAD = 20_000
#: Rows that are written together.
_ROWS = 2**16


class _Labels:
    """Label counts of one dataset, in columns that take 32 bytes a row."""

    def __init__(self, names: tuple[str, ...] = ()) -> None:
        self.names = names
        self._sample, self._region, self._code, self._weight = array("q"), array("q"), array("q"), array("d")
        self._labels: dict[Hashable, int] = {}
        self._texts: list[str] | None = None

    def add(self, sample: int, region: int, label: Hashable, weight: float) -> None:
        """One row; ``label`` is the name, or an id that :meth:`rename` explains later."""
        self._sample.append(sample)
        self._region.append(region)
        self._code.append(self._labels.setdefault(label, len(self._labels)))
        self._weight.append(weight)

    def rename(self, names: Mapping[Any, str]) -> int:
        """Put names in the place of ids; rows whose id has none are left out, and how many they are is returned."""
        known = np.array([identity in names for identity in self._labels], bool)
        self._texts = [names.get(identity, "") for identity in self._labels]
        self.names = tuple(dict.fromkeys(names.values()))
        kept = known[np.asarray(self._code)] if len(self._code) else np.ones(0, bool)
        if kept.all():
            return 0
        for column in ("_sample", "_region", "_code", "_weight"):
            values = getattr(self, column)
            setattr(self, column, array(values.typecode, np.asarray(values)[kept].tobytes()))
        return int((~kept).sum())

    @property
    def texts(self) -> list[str]:
        """The names of the labels that occur."""
        return [str(label) for label in self._labels] if self._texts is None else self._texts

    def write(self, writer: RunWriter, dataset: str, first: int) -> int:
        """Write the rows, samples counted from ``first``; returns the next free sample."""
        labels = np.array(self.texts, dtype=object)
        columns = [np.asarray(column) for column in (self._sample, self._region, self._code, self._weight)]
        for begin in range(0, len(columns[0]), _ROWS):
            sample, region, code, weight = (column[begin : begin + _ROWS] for column in columns)
            writer.label_counts(
                dataset=dataset, sample=sample + first, region=region, label=labels[code], weight=weight
            )
            writer.flush()
        return first + (int(columns[0].max()) + 1 if len(columns[0]) else 0)


def recognises(path: Path) -> bool:
    return path.is_dir() and bool(_datasets(path))


def sources(path: Path) -> list[Path]:
    return [file for found in _datasets(path).values() for file in found[1]]


def read(path: Path, writer: RunWriter) -> list[Problem]:
    """Fill the label counts: a box or mask weighs its area in pixels, a value of a label image its pixels."""
    problems: list[Problem] = []
    datasets = []
    first = 0
    for name, (parse, files) in _datasets(path).items():
        labels = parse(files, problems)
        first = labels.write(writer, name, first)
        datasets.append(Dataset(name, labels.names or tuple(sorted(set(labels.texts)))))
    writer.update(datasets=datasets)
    return problems


_Parser = Callable[[list[Path], list[Problem]], _Labels]


def _datasets(path: Path) -> dict[str, tuple[_Parser, list[Path]]]:
    found: dict[str, tuple[_Parser, list[Path]]] = {}
    for file in sorted(path.glob("*.json")):
        if _is_coco(file):
            found[file.stem] = (_coco, [file])
    for folder in sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")):
        voc = sorted(folder.glob("*.xml")) or sorted(folder.glob("Annotations/*.xml"))
        images = sorted(folder.glob("*.png"))
        if voc and _is_voc(voc[0]):
            found[folder.name] = (_voc, voc)
        elif images and (folder / "classes.txt").is_file():
            found[folder.name] = (_label_images, [folder / "classes.txt", *images])
    return found


def _is_coco(file: Path) -> bool:
    with file.open("rb") as stream:
        head = stream.read(_HEAD)
        stream.seek(max(0, file.stat().st_size - _HEAD))
        both = head + stream.read()
    keys = (b'"annotations"', b'"images"', b'"categories"')
    return head.lstrip().startswith(b"{") and sum(key in both for key in keys) >= 2


def _is_voc(file: Path) -> bool:
    with file.open("rb") as stream:
        return b"<annotation" in stream.read(2000)


def _coco(files: list[Path], problems: list[Problem]) -> _Labels:
    (file,) = files
    labels = _Labels()
    names: dict[Any, str] = {}
    order: dict[Any, int] = {}
    found = set()
    try:
        for key, inner, value in members(file):
            found.add(key)
            if inner is None:
                continue
            if key == "categories":
                names[value["id"]] = str(value["name"])
            elif key == "annotations":
                weight = _area(value)
                sample = order.setdefault(value["image_id"], len(order))
                labels.add(sample, cast(int, inner), value["category_id"], weight)
        n_unknown = labels.rename(names)
        if n_unknown:
            problems.append(
                Problem(file, f"{n_unknown} annotation(s) of categories that it does not list were skipped")
            )
        if "annotations" not in found or not names:
            raise KeyError("annotations" if names else "categories")
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        raise RunFormatError(
            f"{file} is not a readable COCO annotation file ({type(error).__name__}: {error})."
        ) from None
    return labels


def _area(annotation: dict[str, Any]) -> float:
    """Pixels of an annotation: as given, of its mask as run lengths, of its box, or 1 where nothing says it."""
    if annotation.get("area"):
        return float(annotation["area"])
    mask = annotation.get("segmentation")
    if isinstance(mask, dict) and isinstance(mask.get("counts"), list):
        return float(sum(mask["counts"][1::2]))  # runs outside and inside the mask in turn
    box = annotation.get("bbox") or [0, 0, 1, 1]
    return float(box[2] * box[3])


def _voc(files: list[Path], problems: list[Problem]) -> _Labels:
    labels = _Labels()
    for sample, file in enumerate(files):
        try:
            for region, (label, weight) in enumerate(list(_voc_objects(file))):
                if label:
                    labels.add(sample, region, label, weight)
        except (ElementTree.ParseError, ValueError, TypeError) as error:
            problems.append(Problem(file, f"skipped, not a readable VOC annotation ({error})"))
    return labels


def _voc_objects(file: Path) -> Iterator[tuple[str, float]]:
    data = file.read_bytes()
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise ValueError("it declares entities, which are not expanded")
    for item in ElementTree.fromstring(data).iter("object"):
        box = item.find("bndbox")
        sides = {} if box is None else {side.tag: float(side.text or "nan") for side in box}
        width, height = (sides.get(f"{axis}max", 1.0) - sides.get(f"{axis}min", 0.0) for axis in "xy")
        yield (item.findtext("name") or "").strip(), width * height


def _label_images(files: list[Path], problems: list[Problem]) -> _Labels:
    from PIL import Image, UnidentifiedImageError

    names = tuple(line.strip() for line in files[0].read_text(encoding="utf-8", errors="replace").splitlines())
    labels = _Labels(names=tuple(name for name in names if name))
    for sample, file in enumerate(files[1:]):
        try:
            with Image.open(file) as image:
                values, pixels = np.unique(
                    np.asarray(image if image.mode in "LPI" else image.convert("L")), return_counts=True
                )
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            problems.append(Problem(file, f"skipped, not a readable image ({error})"))
            continue
        for value, count in zip(values.tolist(), pixels.tolist(), strict=True):
            if value < len(names) and names[value]:
                labels.add(sample, value, names[value], float(count))
    return labels


FORMAT = Format("annotations", "label annotations", recognises, sources, read, shares=True)
