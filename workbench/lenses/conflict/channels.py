"""Who may train which group of channels? GradSplit's relation from recorded channel groups.

A layer whose output channels were recorded as T equal groups appears as modules ``<layer>[first:stop]``. Group k
belongs to task k. With g_j the gradient of task j on the parameters of group k,

    M_kj = 1 where j = k or the 95 % interval of cos(g_j, g_k) does not lie wholly below 0, else 0,

and group k would be updated with sum over j of M_kj g_j. M need not be symmetric: row k is measured on the parameters
of group k, row j on those of group j. Source: Deng et al. 2023, Split to Learn (GradSplit). The paper's own criterion
was not found; calling a conflict by the interval is our choice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int

from workbench.lenses.conflict.estimates import CONFLICT, MISSING, Estimate

_GROUP = re.compile(r"^(?P<layer>.*)\[(?P<first>\d+):(?P<stop>\d+)\]$")


@dataclass(frozen=True)
class Layout:
    """How recorded modules make up the modules that are shown.

    Attributes:
        modules: Shown modules; the groups of a cut layer are shown as the layer.
        members: Per shown module the positions of the recorded ones that it sums.
        cut: Positions in ``modules`` of layers that were recorded in groups.
        groups: Per cut layer the recorded positions of its groups, first channels first.
        channels: Per cut layer the channels of each group, e.g. "0:8".
    """

    modules: tuple[str, ...]
    members: tuple[tuple[int, ...], ...]
    cut: tuple[int, ...]
    groups: tuple[tuple[int, ...], ...]
    channels: tuple[tuple[str, ...], ...]

    @staticmethod
    def of(recorded: tuple[str, ...]) -> Layout:
        matches = [_GROUP.match(name) for name in recorded]
        pieces: dict[str, list[tuple[int, int, int]]] = {}
        for place, match in enumerate(matches):
            if match:
                span = int(match["first"]), int(match["stop"]), place
                pieces.setdefault(match["layer"], []).append(span)
        layers = {layer: sorted(found) for layer, found in pieces.items() if _tiles(sorted(found))}
        shown: dict[str, list[int]] = {}
        for place, (name, match) in enumerate(zip(recorded, matches, strict=True)):
            shown.setdefault(match["layer"] if match and match["layer"] in layers else name, []).append(place)
        names = tuple(shown)
        return Layout(
            names,
            tuple(map(tuple, shown.values())),
            tuple(names.index(layer) for layer in layers),
            tuple(tuple(place for *_, place in found) for found in layers.values()),
            tuple(tuple(f"{first}:{stop}" for first, stop, _ in found) for found in layers.values()),
        )

    def shown(self, dot: Float[np.ndarray, "S R T K T K"]) -> Float[np.ndarray, "S M T K T K"]:
        """Sums over the members of every shown module."""
        if len(self.modules) == dot.shape[1]:
            return dot
        return np.stack([dot[:, list(places)].sum(axis=1) for places in self.members], axis=1)

    def grouped(self, n_tasks: int) -> list[int]:
        """Positions in ``cut`` of the layers that were cut into as many groups as there are tasks."""
        return [place for place, found in enumerate(self.groups) if len(found) == n_tasks]


def _tiles(spans: list[tuple[int, int, int]]) -> bool:
    """Whether at least two spans follow one another from channel 0 without a gap."""
    edges = [(first, stop) for first, stop, _ in spans]
    return len(edges) > 1 and edges[0][0] == 0 and all(a[1] == b[0] for a, b in pairwise(edges))


@dataclass(frozen=True)
class Routing:
    """The relation in every layer that was cut into T groups; N layers.

    Attributes:
        channels: Per layer the channels of each group.
        cosine: Row k the group (of task k), column j the task: pooled cosine of g_j with g_k on the group's parameters;
            not recorded on the diagonal.
    """

    layers: tuple[str, ...]
    channels: tuple[tuple[str, ...], ...]
    cosine: Estimate

    @property
    def admitted(self) -> Bool[np.ndarray, "N T T"]:
        """M: whose gradient may enter which group."""
        return self.cosine.state != CONFLICT

    @property
    def blocked(self) -> Int[np.ndarray, " N"]:
        """Task gradients kept out of some group, per layer."""
        return (~self.admitted).sum(axis=(1, 2))

    @property
    def one_way(self) -> Int[np.ndarray, " N"]:
        """Pairs of tasks of which one may train the other's channels and not the reverse, per layer."""
        return np.triu(self.admitted != np.swapaxes(self.admitted, 1, 2)).sum(axis=(1, 2))


def routing(pooled: Estimate, layout: Layout, pairs: Int[np.ndarray, "P 2"], n_tasks: int) -> Routing | None:
    """``pooled``: [groups of all such layers, P], in the order of :meth:`Layout.grouped`. None without such a layer."""
    chosen = layout.grouped(n_tasks)
    if not chosen or not len(pairs):
        return None
    shape = (len(chosen), n_tasks, n_tasks)
    arrays = []
    for name, fill in (("value", np.nan), ("low", np.nan), ("high", np.nan), ("state", MISSING)):
        found = getattr(pooled, name).reshape(len(chosen), n_tasks, len(pairs))
        table = np.full(shape, fill, dtype=found.dtype)
        for pair, (i, j) in enumerate(pairs.tolist()):
            table[:, i, j], table[:, j, i] = found[:, i, pair], found[:, j, pair]
        arrays.append(table)
    layers = tuple(layout.modules[layout.cut[place]] for place in chosen)
    return Routing(layers, tuple(layout.channels[place] for place in chosen), Estimate(*arrays))
