"""What a run on the road scenes records: pictures, label counts, scores, and how the datasets pull at each label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import nll_loss

from workbench.core import RunWriter
from workbench.core.schema import TRUTH
from workbench.demos.data.thumbnails import pngs
from workbench.demos.scenes import SPACES, LabelSpace, Scenes
from workbench.demos.scenes_draw import CONCEPTS
from workbench.demos.scenes_net import SceneNet, ious, label_maps
from workbench.diagnostics.recorder import Recorder
from workbench.diagnostics.rows.parts import Channels
from workbench.methods.uniseg import row_cosines

#: Concepts that stand in the street rather than make it.
THINGS = CONCEPTS[CONCEPTS.index("person") :]
#: dataset -> loss of every image with its graph, in nats per pixel.
Losses: TypeAlias = Mapping[str, Float[Tensor, " _"]]


def record_samples(rec: RunWriter, test: Sequence[Scenes], train: Sequence[Scenes], n_pictured: int) -> None:
    """Describe test and training scenes; ids run on in that order.

    Args:
        n_pictured: Test scenes of each domain that have a thumbnail: the first ones.
    """
    first = 0
    for split, parts in (("test", test), ("train", train)):
        for scenes in parts:
            pictured = scenes.images[: n_pictured if split == "test" else 0]
            rec.samples(
                {
                    "sample": np.arange(first, first + len(scenes)),
                    "dataset": scenes.domain,
                    "domain": scenes.domain,
                    "split": split,
                    "main_thing": main_thing(scenes.concepts),
                    "thumbnail": [*pngs(pictured), *[None] * (len(scenes) - len(pictured))],
                }
            )
            first += len(scenes)


def main_thing(concepts: Int[np.ndarray, "N H W"]) -> list[str]:
    """The thing with the most pixels in each scene; "none" in an empty street."""
    pixels = np.stack([(concepts == CONCEPTS.index(thing)).sum(axis=(1, 2)) for thing in THINGS], axis=1)
    return [THINGS[row.argmax()] if row.any() else "none" for row in pixels]


def record_truth(rec: RunWriter, parts: Sequence[Scenes]) -> None:
    """Pixels of each annotated label in each scene of a dataset.

    A region is all of one label in one scene and has the label's index as its number.
    """
    for space, scenes, first in _annotated(parts):
        truth = space.annotate(scenes.concepts)
        _write_counts(rec, space, first, region_counts(truth, truth), space.labels, TRUTH)


def record_predicted_labels(rec: RunWriter, step: int, net: SceneNet, parts: Sequence[Scenes]) -> None:
    """What each dataset's labels, as the net learned them, make of every dataset's annotated regions."""
    for space, scenes, first in _annotated(parts):
        regions = space.annotate(scenes.concepts)
        maps = label_maps(net, scenes.images)
        for head in SPACES:
            found = region_counts(regions, maps[head.dataset])
            _write_counts(rec, space, first, found, head.labels, head.dataset, step=step)


def _annotated(parts: Sequence[Scenes]) -> Iterator[tuple[LabelSpace, Scenes, int]]:
    """Scenes that belong to a dataset, with its label space and the sample id of the first; ids run over all parts."""
    spaces = {space.dataset: space for space in SPACES}
    first = 0
    for scenes in parts:
        if scenes.domain in spaces:
            yield spaces[scenes.domain], scenes, first
        first += len(scenes)


def _write_counts(
    rec: RunWriter,
    space: LabelSpace,
    first: int,
    found: pd.DataFrame,
    names: Sequence[str],
    source: str,
    **more: Any,
) -> None:
    rec.label_counts(
        dataset=space.dataset,
        sample=first + found["scene"].to_numpy(),
        region=found["region"].to_numpy(),
        label=np.asarray(names, dtype=object)[found["label"]],
        weight=found["pixels"].to_numpy(),
        source=source,
        **more,
    )


def region_counts(regions: Int[np.ndarray, "N H W"], labels: Int[np.ndarray, "N H W"]) -> pd.DataFrame:
    """Pixels of each label in each region of each scene: columns scene, region, label, pixels; no row for none."""
    n_regions, n_labels = int(regions.max()) + 1, int(labels.max()) + 1
    scene = np.arange(len(regions))[:, None, None]
    cells, pixels = np.unique((scene * n_regions + regions) * n_labels + labels, return_counts=True)
    place, label = np.divmod(cells, n_labels)
    return pd.DataFrame({"scene": place // n_regions, "region": place % n_regions, "label": label, "pixels": pixels})


def record_scores(
    rec: RunWriter, step: int, net: SceneNet, parts: Sequence[Scenes], spaces: Sequence[LabelSpace] = SPACES
) -> dict[str, float]:
    """Record ``IoU/<images>/<label space>/<label>`` and ``mIoU/<images>/<label space>``; return the means."""
    means: dict[str, float] = {}
    for scenes in parts:
        maps = label_maps(net, scenes.images)
        for space in spaces:
            found = ious(maps[space.dataset], scenes.concepts, space)
            where = f"{scenes.domain}/{space.dataset}"
            rec.scalars(step, {f"IoU/{where}/{label}": value for label, value in found.items()})
            means[f"mIoU/{where}"] = float(np.nanmean(list(found.values())))
    rec.scalars(step, means)
    return means


def record_maps(rec: RunWriter, step: int, net: SceneNet, parts: Sequence[Scenes], n: int) -> None:
    """Write the first ``n`` scenes of each domain as label maps, the array ``label_maps``.

    ``sample`` [N]; by label list ``truth/<list>`` and ``said/<list>`` [N, H, W], indices into the list's labels.
    """
    starts = np.cumsum([0, *(len(scenes) for scenes in parts[:-1])])
    arrays = {"sample": np.concatenate([start + np.arange(n) for start in starts])}
    said = [label_maps(net, scenes.images[:n]) for scenes in parts]
    for space in SPACES:
        truth = [space.annotate(scenes.concepts[:n]) for scenes in parts]
        arrays[f"truth/{space.dataset}"] = np.concatenate(truth).astype(np.uint8)
        arrays[f"said/{space.dataset}"] = np.concatenate([maps[space.dataset] for maps in said]).astype(np.uint8)
    rec.array("label_maps", step, arrays)


@torch.no_grad()
def record_losses(rec: RunWriter, step: int, net: SceneNet, parts: Sequence[Scenes]) -> None:
    """How well every test image is read in each dataset's labels: cross-entropy over those labels, nats per pixel.

    A label map is no single class: ``prediction`` is NaN, ``confidence`` the mean over pixels of the largest share.
    """
    logits = [net(torch.from_numpy(scenes.images)) for scenes in parts]
    for space in SPACES:
        rows = list(net.outputs.rows[space.dataset])
        first = 0
        for scenes, found in zip(parts, logits, strict=True):
            shares = torch.log_softmax(found[:, rows], dim=1)  # [N, L, H, W]
            truth = torch.from_numpy(space.annotate(scenes.concepts))
            loss = nll_loss(shares, truth, reduction="none").mean(dim=(1, 2))
            confidence = shares.amax(dim=1).exp().mean(dim=(1, 2))
            ids = np.arange(first, first + len(scenes))
            rec.predictions(step, space.dataset, sample=ids, prediction=np.nan, confidence=confidence, loss=loss)
            first += len(scenes)


def record_embeddings(
    rec: Recorder, step: int, net: SceneNet, parts: Sequence[Scenes], n_pictured: int, layers: Sequence[str]
) -> None:
    """Record embeddings of the pictured test scenes, averaged over the image."""
    starts = np.cumsum([0, *(len(scenes) for scenes in parts[:-1])])
    ids = np.concatenate([start + np.arange(n_pictured) for start in starts])
    images = torch.from_numpy(np.concatenate([scenes.images[:n_pictured] for scenes in parts]))
    rec.embeddings(step, net, images, sample=ids, layers=layers)


def record_gradients(rec: Recorder, step: int, net: SceneNet, losses: Losses, n_batches: int) -> None:
    """Task gradients of the two datasets, by layer of the trunk and by row of the classifier."""
    parts = {f"trunk.{name}": layer for name, layer in net.trunk.named_children()}
    rows = {f"head[{label}]": (Channels(net.head.weight, k, k + 1),) for k, label in enumerate(net.outputs.names)}
    rec.task_gradients(step, losses, shared={**parts, **rows}, n_batches=n_batches)


def record_rows(rec: RunWriter, step: int, net: SceneNet, losses: Losses, *, arrays: bool) -> dict[str, float]:
    """Record ``row_cosine/<label>``: how the datasets' mean gradients on one classifier row lie to each other.

    Returns them by label. With ``arrays`` also each dataset's rows (``classifier``, [L, D]) and both gradients
    (``row_gradients``, [K, D]).
    """
    gradients = {
        dataset: torch.autograd.grad(loss.mean(), net.head.weight, retain_graph=True)[0]
        for dataset, loss in losses.items()
    }
    cosines = dict(zip(net.outputs.names, row_cosines(*gradients.values()).tolist(), strict=True))
    rec.scalars(step, {f"row_cosine/{label}": value for label, value in cosines.items()})
    if arrays:
        weight = net.head.weight.detach().numpy()
        rec.array("classifier", step, {name: weight[list(rows)] for name, rows in net.outputs.rows.items()})
        rec.array("row_gradients", step, {dataset: gradient.numpy() for dataset, gradient in gradients.items()})
    return cosines
