"""How much of each class a prediction found, invented, missed and left alone: labels of a sample, regions of a picture.

The four counts of every class are the columns ``tp``, ``fp``, ``fn`` and ``tn`` of the predictions table:

    rec.predictions(step, "tags", sample=ids, loss=loss, **of_labels(said, true))        # said, true: [N, C], 0 or 1
    rec.predictions(step, "seg", sample=ids, loss=loss, **of_maps(said, true, 19, ignore=255))  # label maps [N, H, W]
"""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.core.errors import ConfigError

#: Columns of the counts: true positives, false positives, false negatives, true negatives.
COLUMNS = ("tp", "fp", "fn", "tn")


def of_labels(said: Any, true: Any) -> dict[str, np.ndarray]:
    """Counts (each 0 or 1) of the labels of each sample.

    Args:
        said, true: Which labels were predicted and which hold, [N, C] of booleans or of 0 and 1; tensors may be given.

    Returns:
        The columns tp, fp, fn and tn, each [N, C].

    Raises:
        ConfigError: other shapes or values.
    """
    given, right = _array(said), _array(true)
    if given.ndim != 2 or given.shape != right.shape:
        raise ConfigError(f"Predicted and true labels must both be [N, C]; got {given.shape} and {right.shape}.")
    for name, values in (("predicted", given), ("true", right)):
        if not np.isin(values, (0, 1)).all():
            raise ConfigError(f"The {name} labels must be 0 or 1; found {values[~np.isin(values, (0, 1))][0]}.")
    a, b = given.astype(bool), right.astype(bool)
    counts = (a & b, a & ~b, ~a & b, ~a & ~b)
    return {name: values.astype(float) for name, values in zip(COLUMNS, counts, strict=True)}


def of_maps(said: Any, true: Any, n_classes: int, ignore: int | None = None) -> dict[str, np.ndarray]:
    """Counts of pixels (or voxels, points) of every class in each picture.

    Args:
        said, true: One map of class numbers a picture; pictures may differ in size. Tensors may be given.
        ignore: Pixels whose true class is this number do not count, whatever was predicted there.

    Returns:
        The columns tp, fp, fn and tn, each [N, C]; over the classes of a picture tp + fn adds up to its pixels.

    Raises:
        ConfigError: a picture's maps differ in shape, or hold a number that is no class.
    """
    if len(said) != len(true):
        raise ConfigError(f"There must be one true map a predicted one; got {len(said)} and {len(true)}.")
    found = np.zeros((len(said), 4, n_classes))
    for i, (given, right) in enumerate(zip(said, true, strict=True)):
        found[i] = _of_map(_array(given), _array(right), n_classes, ignore, i)
    return {name: found[:, at] for at, name in enumerate(COLUMNS)}


def _of_map(said: np.ndarray, true: np.ndarray, n_classes: int, ignore: int | None, number: int) -> np.ndarray:
    if said.shape != true.shape:
        raise ConfigError(f"The maps of picture {number} differ in shape: {said.shape} and {true.shape}.")
    kept = np.ones(true.shape, dtype=bool) if ignore is None else true != ignore
    a, b = said[kept].astype(np.int64), true[kept].astype(np.int64)
    for name, values in (("predicted", a), ("true", b)):
        odd = values[(values < 0) | (values >= n_classes)]
        if len(odd):
            raise ConfigError(
                f"The {name} map of picture {number} holds {odd[0]}; classes are numbered from 0 to {n_classes - 1}. "
                "Pass ignore=… for pixels without a class."
            )
    confusion = np.bincount(b * n_classes + a, minlength=n_classes**2).reshape(n_classes, n_classes)
    right = np.diagonal(confusion)
    invented, missed = confusion.sum(axis=0) - right, confusion.sum(axis=1) - right
    return np.stack([right, invented, missed, len(b) - right - invented - missed]).astype(float)


def _array(values: Any) -> np.ndarray:
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
