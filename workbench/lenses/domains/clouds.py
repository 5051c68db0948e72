"""All points of a layer at a step and their maps: read when they are looked at, a few kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from workbench.core import ConfigError, Run
from workbench.lenses.domains.map_jobs import finished_map
from workbench.lenses.domains.maps import METHODS, Layout, pca_layout
from workbench.lenses.domains.points import Cohort, Points, points_of

#: The largest map. Beyond, as many points of every domain as fit.
MAX_POINTS = 100_000
# Maps of the largest size that are kept: a few, since each holds its embeddings.
_KEPT = 4
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Clouds:
    """The points behind the maps of a run, and the maps.

    The statistics keep at most a few thousand points of every layer and step; a map shows all that were recorded, so
    the larger clouds are read again when somebody looks. A pickled copy has left its run behind and shows what is held.

    Args:
        held: Points per (layer, step) that the statistics keep.
        at_most: How many points ``held`` keeps at most; a cloud of fewer is whole.
    """

    def __init__(self, run: Run, who: Cohort, held: Mapping[tuple[str, int], Points], at_most: int, seed: int) -> None:
        self._run: Run | None = run
        self._who, self._held, self._at_most, self._seed = who, held, at_most, seed
        self._forget()

    def _forget(self) -> None:
        self._points: OrderedDict[tuple[str, int], Points] = OrderedDict()
        self._layouts: OrderedDict[tuple[str, int, str], Layout] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"_run": None, "_who": self._who, "_held": self._held, "_at_most": self._at_most, "_seed": self._seed}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def points(self, layer: str, step: int) -> Points:
        """All points of a layer at a step, at most ``MAX_POINTS``.

        Raises:
            ConfigError: none were recorded there.
        """
        held = self._held.get((layer, step))
        if held is None:
            raise ConfigError(f"No embeddings of layer '{layer}' were recorded at step {step}.")
        run = self._run
        if run is None or len(held.sample) < self._at_most:
            return held
        return self._kept(
            self._points,
            (layer, step),
            lambda: points_of(run, self._who, layer, step, MAX_POINTS, self._seed) or held,
        )

    def layout(self, layer: str, step: int, method: str = "pca") -> Layout:
        """The map by a method, or the PCA map while a UMAP map has not been computed (see ``method`` of the result).

        Raises:
            ConfigError: unknown method, or no embeddings there.
        """
        if method not in METHODS:
            raise ConfigError(f"There is no map method '{method}'. Methods: {', '.join(METHODS)}.")
        points, key = self.points(layer, step), (layer, step, method)
        if method == "pca":
            return self._kept(self._layouts, key, lambda: pca_layout(points))
        found = self._layouts.get(key) or finished_map(points)
        if found is None:
            return self.layout(layer, step, "pca")
        return self._kept(self._layouts, key, lambda: found)

    def _kept(self, store: OrderedDict[_Key, _Value], key: _Key, make: Callable[[], _Value]) -> _Value:
        with self._lock:  # two sessions that ask for the same cloud wait for one reading of it
            if key not in store:
                store[key] = make()
                while len(store) > _KEPT:
                    store.popitem(last=False)
            store.move_to_end(key)
            return store[key]
