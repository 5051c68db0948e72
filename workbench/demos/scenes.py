"""Road scenes drawn from seeds: datasets with different style and disagreeing label spaces, and an unseen domain.

Every pixel of a scene belongs to one of ten concepts. A label space says which label a dataset gives to each concept:

    avenue     coarse, warm light: folds lane marking into road and sidewalk into background, has rider and vehicle
    boulevard  fine, cool light: one label a concept
    esplanade  other words, dim light: one label for all that one walks or drives on; biker is avenue's rider, lorry
               boulevard's truck. Only in the experiment with three datasets
    coast      hazy; never trained on, scored in all label spaces

Merged by name alone (:data:`MERGED`), as one would do with public datasets, "road" and "background" mean less in
boulevard than in avenue. Because labels are sets of concepts, every relation between the two label spaces is known
exactly (:data:`TRUE_RELATIONS`), and so is the contingency table of the two annotations of one scene.

Style is a per-channel offset, a contrast and pixel noise; the scenes themselves are drawn alike in all domains.
The drawing is ours; the design (styles, object kinds) follows the small experiment that accompanies the method of
Kim et al. 2022, arXiv:2202.14030, with sidewalks added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Int, Int64

from workbench.core import ConfigError
from workbench.demos.scenes_draw import CONCEPTS, draw_scene


@dataclass(frozen=True)
class LabelSpace:
    """Which label a dataset gives to each concept.

    Attributes:
        dataset: Name of the dataset.
        label_of: concept -> label, one entry for each of :data:`CONCEPTS`.
    """

    dataset: str
    label_of: Mapping[str, str]

    def __post_init__(self) -> None:
        if set(self.label_of) != set(CONCEPTS):
            odd = sorted(set(self.label_of) ^ set(CONCEPTS))
            raise ConfigError(f"The label space of '{self.dataset}' must label each concept once; check: {odd}.")

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The labels in the order in which the concepts first use them."""
        return tuple(dict.fromkeys(self.label_of[concept] for concept in CONCEPTS))

    def concepts(self, label: str) -> frozenset[str]:
        """The concepts that carry a label."""
        return frozenset(concept for concept in CONCEPTS if self.label_of[concept] == label)

    def annotate(self, concepts: Int[np.ndarray, "..."]) -> Int64[np.ndarray, "..."]:
        """Label indices into :attr:`labels` from concept indices."""
        index = np.array([self.labels.index(self.label_of[concept]) for concept in CONCEPTS], dtype=np.int64)
        return index[concepts]


_FOLDED = {
    "sidewalk": "background",
    "lane marking": "road",
    "cyclist": "rider",
    "motorcyclist": "rider",
    "car": "vehicle",
    "truck": "vehicle",
}
AVENUE = LabelSpace("avenue", {concept: _FOLDED.get(concept, concept) for concept in CONCEPTS})
BOULEVARD = LabelSpace("boulevard", {concept: concept for concept in CONCEPTS})

_ELSEWHERE = {
    **dict.fromkeys(("road", "sidewalk", "lane marking"), "ground"),
    **dict.fromkeys(("cyclist", "motorcyclist"), "biker"),
    "truck": "lorry",
}
ESPLANADE = LabelSpace("esplanade", {concept: _ELSEWHERE.get(concept, concept) for concept in CONCEPTS})

#: The two datasets that are trained on.
SPACES: tuple[LabelSpace, LabelSpace] = (AVENUE, BOULEVARD)
#: The three datasets of the larger experiment.
THREE_SPACES: tuple[LabelSpace, ...] = (*SPACES, ESPLANADE)


@dataclass(frozen=True)
class Outputs:
    """What the rows of one classifier stand for when it serves several label spaces.

    Attributes:
        names: Name of each row.
        rows: dataset -> the row of each of its labels, in their order.
    """

    names: tuple[str, ...]
    rows: Mapping[str, tuple[int, ...]]

    @property
    def label_sets(self) -> dict[str, tuple[str, ...]]:
        """dataset -> the names of its rows."""
        return {dataset: tuple(self.names[row] for row in rows) for dataset, rows in self.rows.items()}

    def annotate(self, concepts: Int[np.ndarray, "..."], space: LabelSpace) -> Int64[np.ndarray, "..."]:
        """Row indices that a dataset's annotation of some concepts asks for."""
        return np.array(self.rows[space.dataset], dtype=np.int64)[space.annotate(concepts)]


def merged(spaces: Sequence[LabelSpace]) -> Outputs:
    """One row a name: labels that are spelled alike share it."""
    names = tuple(dict.fromkeys(label for space in spaces for label in space.labels))
    return Outputs(names, {space.dataset: tuple(names.index(label) for label in space.labels) for space in spaces})


def apart(spaces: Sequence[LabelSpace]) -> Outputs:
    """One row a label of each dataset, named ``<dataset>: <label>``; nothing is shared."""
    names = tuple(f"{space.dataset}: {label}" for space in spaces for label in space.labels)
    first = np.cumsum([0, *(len(space.labels) for space in spaces)]).tolist()
    return Outputs(
        names,
        {space.dataset: tuple(range(first[i], first[i + 1])) for i, space in enumerate(spaces)},
    )


#: Both label lists merged by name: 12 rows.
MERGED = merged(SPACES)
#: Both label lists side by side: 16 rows.
APART = apart(SPACES)


@dataclass(frozen=True)
class Style:
    """How a domain photographs: ``clip(0.5 + contrast · (x − 0.5) + offset + light + noise)`` per channel, in [0, 1].

    ``light`` is drawn once an image and channel, ``noise`` once a pixel and channel; both as standard deviations.
    """

    offset: tuple[float, float, float]
    contrast: float
    light: float = 0.04
    noise: float = 0.07


STYLES: Mapping[str, Style] = {
    "avenue": Style((0.05, 0.0, -0.05), 1.0),
    "boulevard": Style((-0.05, 0.02, 0.05), 0.9),
    "coast": Style((0.0, 0.0, 0.0), 0.7),
}
#: With the third dataset, last so that the others' scenes stay as they are.
ALL_STYLES: Mapping[str, Style] = {**STYLES, "esplanade": Style((-0.06, -0.06, -0.02), 0.95)}


@dataclass(frozen=True)
class Scenes:
    """Drawn scenes of one domain. Images in [0, 1]; concepts index :data:`CONCEPTS`."""

    domain: str
    images: Float32[np.ndarray, "N 3 H W"]
    concepts: Int64[np.ndarray, "N H W"]

    def __len__(self) -> int:
        return len(self.images)


def draw_scenes(domain: str, n: int, seed: int) -> Scenes:
    """``n`` scenes in the style of a domain. The same seed draws the same scenes, whatever ``n`` and whatever was
    drawn before; different domains with one seed show different scenes.

    Raises:
        ConfigError: unknown domain.
    """
    if domain not in ALL_STYLES:
        raise ConfigError(f"There is no domain '{domain}' of road scenes. Domains: {', '.join(ALL_STYLES)}.")
    streams = np.random.SeedSequence([seed, list(ALL_STYLES).index(domain)]).spawn(n)
    drawn = [_photograph(ALL_STYLES[domain], np.random.default_rng(stream)) for stream in streams]
    return Scenes(domain, np.stack([image for image, _ in drawn]), np.stack([concepts for _, concepts in drawn]))


def _photograph(
    style: Style, rng: np.random.Generator
) -> tuple[Float32[np.ndarray, "3 H W"], Int64[np.ndarray, "H W"]]:
    colours, concepts = draw_scene(rng)
    image = (
        0.5 + style.contrast * (colours - 0.5) + np.asarray(style.offset) + rng.normal(0, style.noise, colours.shape)
    )
    return np.moveaxis(image.clip(0, 1), -1, 0).astype(np.float32), concepts


RelationKind = Literal["same", "inside", "overlap"]


@dataclass(frozen=True)
class Relation:
    """How label ``b`` of one dataset stands to label ``a`` of another, as sets of concepts.

    Attributes:
        kind: ``same``: equal sets; ``inside``: b is a proper part of a; ``overlap``: they share some, neither holds
            the other.
        same_name: Whether both datasets use one name. With any kind but ``same`` that is a contradiction: merging by
            name trains one output with two definitions.
    """

    a: str
    b: str
    kind: RelationKind

    @property
    def same_name(self) -> bool:
        return self.a == self.b


def relations(space_a: LabelSpace, space_b: LabelSpace) -> tuple[Relation, ...]:
    """All pairs of labels that share a concept, from the side of ``space_b``; containment of a in b is "overlap"."""
    found = []
    for a, b in product(space_a.labels, space_b.labels):
        of_a, of_b = space_a.concepts(a), space_b.concepts(b)
        if of_a & of_b:
            kind: RelationKind = "same" if of_a == of_b else "inside" if of_b < of_a else "overlap"
            found.append(Relation(a, b, kind))
    return tuple(found)


#: How boulevard's labels (b) stand to avenue's (a).
TRUE_RELATIONS: tuple[Relation, ...] = relations(AVENUE, BOULEVARD)


def true_relations(datasets: Sequence[str]) -> dict[tuple[str, str, str, str], str]:
    """(dataset a, label a, dataset b, label b) -> "same", "a in b", "b in a" or "overlaps", of every two datasets.

    Only pairs that share a concept; datasets that are not drawn here are left out.
    """
    spaces = [space for name in datasets for space in THREE_SPACES if space.dataset == name]
    found = {}
    for first, second in combinations(spaces, 2):
        for a, b in product(first.labels, second.labels):
            of_a, of_b = first.concepts(a), second.concepts(b)
            if of_a & of_b:
                kind = "same" if of_a == of_b else "b in a" if of_b < of_a else "a in b" if of_a < of_b else "overlaps"
                found[first.dataset, a, second.dataset, b] = kind
    return found


def true_contingency(concepts: Int[np.ndarray, "..."]) -> Float[np.ndarray, "A B"]:
    """Pixels that avenue would label a and boulevard b, over the given concept maps: rows a, columns b."""
    a, b = (space.annotate(concepts).ravel() for space in SPACES)
    table = np.zeros((len(AVENUE.labels), len(BOULEVARD.labels)))
    np.add.at(table, (a, b), 1.0)
    return table
