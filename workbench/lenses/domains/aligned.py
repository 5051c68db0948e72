"""Maps of several checkpoints turned onto one another, so that a point that moves on the screen moved in the model.

Every checkpoint's first two principal components are centred, divided by their root mean square radius (embeddings grow
during training; the picture should not) and rotated or mirrored onto the map before:

    R = U V' from the singular value decomposition of (current map)' (previous map) over the shared samples

Source: orthogonal Procrustes, Schönemann 1966; chaining it over checkpoints is how AlignedUMAP starts, and a common
fallback for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from workbench.core import ConfigError
from workbench.lenses.domains.maps import METHODS, Layout, judged_layout, pca_layout
from workbench.lenses.domains.points import Points


def procrustes(current: Float[np.ndarray, "N D"], previous: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "D D"]:
    """The rotation or reflection R that brings ``current @ R`` closest to ``previous``; both centred."""
    u, _, v = np.linalg.svd(current.T @ previous)
    return u @ v


def shared_slices(slices: Sequence[Points]) -> list[Points]:
    """The slices restricted to the samples that all of them hold, in the same order."""
    shared = slices[0].sample
    for points in slices[1:]:
        shared = np.intersect1d(shared, points.sample)
    found = []
    for points in slices:
        order = np.argsort(points.sample, kind="stable")
        found.append(points.take(order[np.searchsorted(points.sample[order], shared)]))
    return found


def aligned_pca(slices: Sequence[Points]) -> list[Layout]:
    """Aligned PCA maps of the shared samples, first checkpoint first."""
    found: list[Layout] = []
    for points in shared_slices(slices):
        layout = pca_layout(points)
        xy = layout.xy - layout.xy.mean(axis=0)
        radius = float(np.sqrt((xy**2).sum(axis=1).mean()))
        xy = xy / (radius if radius > 0 else 1.0)
        if found:
            xy = xy @ procrustes(xy, found[-1].xy)
        found.append(Layout("pca", points, xy, layout.share, layout.trust))
    return found


def aligned_layouts(slices: Sequence[Points], method: str = "pca") -> list[Layout]:
    """Aligned maps by a method; PCA while AlignedUMAP has not been computed (see ``method`` of the results).

    Start it with ``start_map(shared_slices(slices))``.
    """
    if method not in METHODS:
        raise ConfigError(f"There is no map method '{method}'. Methods: {', '.join(METHODS)}.")
    if method == "umap":
        from workbench.lenses.domains.map_jobs import find_map

        shared = shared_slices(slices)
        job = find_map(shared)
        if job.state == "done":
            return [judged_layout("umap", points, xy) for points, xy in zip(shared, job.result(), strict=True)]
    return aligned_pca(slices)
