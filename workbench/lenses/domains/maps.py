"""Two-dimensional maps of embeddings, with marks that say where the map can be believed.

PCA is exact, linear and done here at once. UMAP runs in a child process (:mod:`workbench.lenses.domains.map_jobs`).
Never read distances between clusters, areas or densities from a UMAP map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from workbench.lenses.domains.distances import principal_components
from workbench.lenses.domains.neighbours import Trust, trust
from workbench.lenses.domains.points import Points

METHODS = ("pca", "umap")
NEIGHBOURS = 15
#: Up to so many points each is judged against all others; beyond, against this many of them (landmarks).
MAX_JUDGED, LANDMARKS = 3000, 1000
#: A map is flagged below these (our choice; a shuffled map of 1,000 points has recall 0.015 and trustworthiness 0.5).
MIN_RECALL, MIN_TRUST = 0.25, 0.85


@dataclass(frozen=True)
class Layout:
    """A 2-D map of the points of one layer at one step.

    Attributes:
        method: ``pca`` or ``umap``.
        points: The points, in the order of the rows of ``xy``.
        share: Share of the variance along the two axes (PCA; empty otherwise).
    """

    method: str
    points: Points
    xy: Float[np.ndarray, "N 2"]
    share: tuple[float, ...]
    trust: Trust

    @property
    def reliable(self) -> bool:
        return self.trust.recall >= MIN_RECALL and self.trust.trustworthiness >= MIN_TRUST

    @property
    def doubtful(self) -> np.ndarray:
        """Rows whose own neighbourhood the map distorts most: local trustworthiness in the lowest tenth and below
        what makes a whole map reliable."""
        local = self.trust.point_trust
        if len(local) == 0 or np.isnan(local).all():
            return np.zeros(0, dtype=np.int64)
        return np.flatnonzero((local <= np.quantile(local, 0.1)) & (local < MIN_TRUST))


def pca_layout(points: Points) -> Layout:
    """The first two principal components."""
    found = principal_components(points.features, 2)
    xy = np.zeros((len(points.sample), 2))
    xy[:, : found.points.shape[1]] = found.points
    return judged_layout("pca", points, xy, tuple(float(share) * points.kept for share in found.share))


def judged_layout(method: str, points: Points, xy: Float[np.ndarray, "N 2"], share: tuple[float, ...] = ()) -> Layout:
    """Coordinates with the judgement of how far they keep neighbourhoods."""
    n, among = len(points.sample), None
    if n > MAX_JUDGED:
        among = np.random.default_rng(0).permutation(n)[:LANDMARKS]
    return Layout(method, points, xy, share, trust(points.features, xy, NEIGHBOURS, among))
