"""UniSeg: one segmentation model from datasets whose label spaces disagree.

Dataset i annotates the labels Y_i; the union of all Y_i, merged by name only, has K labels. Cross-entropy over the
union makes datasets fight: a pixel that one dataset calls "rider" pushes down "motorcyclist", which is what another
dataset calls the same thing. Per-class losses that stay silent about labels a dataset does not annotate end that:

    z_k      = s cos(f, w_k)                                                   cosine head, no bias
    v^i_k    = 1[k in Y_i]
    l_null   = 1/|Ω| sum_x sum_k v^i_k BCE(z_k(x), 1[k = c(x)])                stage 1, "null" loss
    S^i_ck   = mean of cos(f(x), w_k) over training pixels x of dataset i with label c(x) = c
    k is related to c of dataset i   <=>   S^i_ck > max(S^i_cc, τ)
    T^i_ck   = 1 if k = c or k is related; else 0 if k in Y_i; else −1 (no loss)
    l_rel    = 1/|Ω| sum_x sum_k 1[T^i_ck >= 0] BCE(z_k(x), T^i_ck), c = c(x)  stage 2, class-relational loss
    ∂l/∂z_k  = p_k − 1[k = c] for all k, at rest at p_a = n_1 / (n_1 + n_2)    cross-entropy, p its softmax
    ∂l/∂z_k  = v^i_k (σ(z_k) − 1[k = c])                                       null loss: 0 for a foreign label

Letters: I datasets, K labels of the union, D width of the features f, Ω labelled pixels of the batch, c the annotated
label, σ the sigmoid, n_i how often dataset i shows what 1 calls a and 2 does not. Losses are in nats per labelled
pixel, summed over classes: a mean over K would drown small classes. Every loss comes as one entry an image, [B], whose
mean is the loss above; an image with more labelled pixels weighs more.

In plain words: Two teams drew outlines on street pictures, each with its own list of names. One calls a thing a rider
that the other calls a motorcyclist, and what one list does not know ends up as background. A net trained on the union
of both lists is told that each name is wrong wherever the other team worked. This method asks, label by label, yes or
no, and stays silent about names that a picture's team never used. In a second stage it finds out which foreign names
mean the same thing or a part of it, and trains them along.

Look at: the labels lens. "Relations by cosine" lays the relations that the method finds beside the planted ones, with
τ to move; "Pull on outputs" shows whether two datasets still pull a label apart, "What a loss speaks about" where each
loss is silent, "Scores across lists" and "Pictures" what carries over to another list. The page that compares two runs
names the labels that gained.

Family: many datasets

Cite: Kim et al. 2022, Learning Semantic Segmentation from Multiple Datasets with Label Shifts, ECCV 2022,
arXiv:2202.14030.
From the authors' released training code: the null loss and its normalisation, the cosine head with s = 20, the entries
of T, prediction restricted to the labels of the test set. The relation rule and τ = −0.08 are reconstructed from the
released relation tables, which they reproduce exactly. Our choice: a dataset index per image so that batches may mix
datasets, IGNORE = −1, and a loss of 0 for a batch without a labelled pixel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from workbench.core import ConfigError

#: Label of a pixel that nobody annotated.
IGNORE = -1


@dataclass(frozen=True)
class Config:
    scale: float = 20.0  # s
    threshold: float = -0.08  # τ, in mean-cosine units

    def __post_init__(self) -> None:
        if self.scale <= 0:
            raise ConfigError(f"scale must be positive; got {self.scale}.")
        if not -1 <= self.threshold <= 1:
            raise ConfigError(f"threshold is a cosine and must lie in [-1, 1]; got {self.threshold}.")


class CosineHead(nn.Module):
    """A 1×1 classifier whose outputs are cosines times ``scale``; lengths of features and rows do not matter."""

    def __init__(self, width: int, n_labels: int, scale: float = Config.scale) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(torch.randn(n_labels, width) / width**0.5)

    def cosines(self, features: Float[Tensor, "B D H W"]) -> Float[Tensor, "B K H W"]:
        """cos(f(x), w_k) in [-1, 1]."""
        rows = F.normalize(self.weight, dim=1)
        return F.conv2d(F.normalize(features, dim=1), rows[:, :, None, None])

    def forward(self, features: Float[Tensor, "B D H W"]) -> Float[Tensor, "B K H W"]:
        return self.scale * self.cosines(features)


def union_of(label_sets: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """All labels once, in the order of first use; equal names are taken to be one label."""
    return tuple(dict.fromkeys(label for labels in label_sets for label in labels))


def annotated_labels(label_sets: Sequence[Sequence[str]], union: Sequence[str]) -> Bool[Tensor, "I K"]:
    """v: which labels of the union each dataset annotates."""
    return torch.tensor([[label in set(labels) for label in union] for labels in label_sets])


def cross_entropy(logits: Float[Tensor, "B K H W"], labels: Int[Tensor, "B H W"]) -> Float[Tensor, " B"]:
    """The baseline: softmax cross-entropy over the union; 0 for an image without labelled pixels."""
    nats = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none")
    return _per_image(nats, labels != IGNORE)


def masked_bce(logits: Float[Tensor, "B K H W"], targets: Float[Tensor, "B K H W"]) -> Float[Tensor, " B"]:
    """BCE where the target is not negative, summed over classes; a pixel counts if it has any such target."""
    counted = targets >= 0
    # The target -1 is clamped too: its weight 0 removes the term, but BCE is not defined outside [0, 1].
    weights = counted.to(logits.dtype)
    nats = F.binary_cross_entropy_with_logits(logits, targets.clamp_min(0), weights, reduction="none")
    return _per_image(nats.sum(dim=1), counted.any(dim=1))


def _per_image(nats: Float[Tensor, "B H W"], labelled: Bool[Tensor, "B H W"]) -> Float[Tensor, " B"]:
    """Entries whose mean is the sum of ``nats`` over the number of labelled pixels in the whole batch."""
    return nats.sum(dim=(1, 2)) * len(nats) / labelled.sum().clamp_min(1)


def related_labels(mean_cosines: Float[Tensor, "K K"], threshold: float = Config.threshold) -> Bool[Tensor, "K K"]:
    """The relation rule, row = annotated label. A label without pixels (NaN row) gets no relations."""
    own = mean_cosines.diagonal()[:, None]
    # Written as two comparisons: a NaN fails both, whichever way a maximum would treat it.
    return (mean_cosines > own) & (mean_cosines > threshold)


def target_matrix(annotated: Bool[Tensor, " K"], related: Bool[Tensor, "K K"]) -> Float[Tensor, "K K"]:
    """T of one dataset, row = annotated label. Related labels override the 0 of the dataset's own labels."""
    targets = torch.where(annotated, 0.0, -1.0).expand(len(annotated), -1).clone()
    targets[related] = 1.0
    return targets.fill_diagonal_(1.0)


def pixel_targets(
    labels: Int[Tensor, "B H W"], dataset: Int[Tensor, " B"], targets: Float[Tensor, "I K K"]
) -> Float[Tensor, "B K H W"]:
    """The row of T for every pixel; −1 throughout for an ignored pixel."""
    rows = targets[dataset[:, None, None], labels.clamp_min(0)]  # [B, H, W, K]
    rows = rows.masked_fill((labels == IGNORE)[..., None], -1.0)
    return rows.movedim(-1, 1)


def null_bce(
    logits: Float[Tensor, "B K H W"],
    labels: Int[Tensor, "B H W"],
    dataset: Int[Tensor, " B"],
    annotated: Bool[Tensor, "I K"],
) -> Float[Tensor, " B"]:
    """l_null. ``labels`` index the union. With ``annotated`` all true: one-vs-all BCE, foreign labels as negatives."""
    unrelated = torch.zeros(annotated.shape[1], annotated.shape[1], dtype=torch.bool)
    targets = torch.stack([target_matrix(row, unrelated) for row in annotated.cpu()]).to(logits)
    return class_relational_bce(logits, labels, dataset, targets)


def class_relational_bce(
    logits: Float[Tensor, "B K H W"],
    labels: Int[Tensor, "B H W"],
    dataset: Int[Tensor, " B"],
    targets: Float[Tensor, "I K K"],
) -> Float[Tensor, " B"]:
    """l_rel with T of each dataset; l_null when T holds no relations."""
    return masked_bce(logits, pixel_targets(labels, dataset, targets))


def mean_cosines(
    batches: Iterable[tuple[Float[Tensor, "B K H W"], Int[Tensor, "B H W"]]], n_labels: int
) -> Float[Tensor, "K K"]:
    """S of one dataset from its training batches of (cosines, labels), in float64; NaN rows for labels without pixels.

    The network belongs in eval mode. Batches are summed as they come, so any number of pixels fits.
    """
    sums = torch.zeros(n_labels, n_labels, dtype=torch.float64)
    counts = torch.zeros(n_labels, dtype=torch.float64)
    for cosines, labels in batches:
        known = labels != IGNORE
        index = labels[known].cpu()
        sums.index_add_(0, index, cosines.detach().movedim(1, -1)[known].double().cpu())
        counts += torch.bincount(index, minlength=n_labels)
    return sums / counts.masked_fill(counts == 0, torch.nan)[:, None]


def restricted_prediction(logits: Float[Tensor, "B K H W"], columns: Sequence[int]) -> Int[Tensor, "B H W"]:
    """The best label among some of the union's; the result indexes ``columns``."""
    return logits[:, list(columns)].argmax(dim=1)


def row_cosines(a: Float[Tensor, "K D"], b: Float[Tensor, "K D"]) -> Float[Tensor, " K"]:
    """cos(∂L_a/∂w_k, ∂L_b/∂w_k) of every classifier row: below 0, two datasets pull that label apart.

    0 where a side has no gradient at all (nothing to conflict with).
    """
    norm = a.norm(dim=1) * b.norm(dim=1)
    return (a * b).sum(dim=1) / norm.masked_fill(norm == 0, 1.0)


class UniSeg:
    """The two stages: the null loss until relations are given (:meth:`relate`), the class-relational loss from then on.

    Args:
        label_sets: Dataset -> its labels. Dataset indices follow this order, label indices follow :attr:`union`.

    Raises:
        ConfigError: a dataset names a label twice, or has none.
    """

    def __init__(self, label_sets: Mapping[str, Sequence[str]], config: Config = Config()) -> None:
        for name, labels in label_sets.items():
            if not labels or len(set(labels)) < len(labels):
                raise ConfigError(
                    f"The labels of dataset '{name}' must be at least one and differ; got {list(labels)}."
                )
        self.config = config
        self.datasets = tuple(label_sets)
        self.union = union_of(label_sets.values())
        self.annotated = annotated_labels(list(label_sets.values()), self.union)
        self._columns = {name: [self.union.index(label) for label in labels] for name, labels in label_sets.items()}
        n_labels = len(self.union)
        self.use(torch.zeros(len(self.datasets), n_labels, n_labels, dtype=torch.bool))

    def head(self, width: int) -> CosineHead:
        """A classifier for features of that width."""
        return CosineHead(width, len(self.union), self.config.scale)

    def loss(
        self, logits: Float[Tensor, "B K H W"], labels: Int[Tensor, "B H W"], dataset: Int[Tensor, " B"]
    ) -> Float[Tensor, " B"]:
        """One entry an image; the mean is the loss. ``labels`` index the union; each image has its dataset's mask."""
        return class_relational_bce(logits, labels, dataset, self.targets.to(logits))

    def relate(self, statistics: Float[Tensor, "I K K"]) -> Bool[Tensor, "I K K"]:
        """Begin stage 2 with the relations that S of each dataset supports; returns them."""
        return self.use(torch.stack([related_labels(s, self.config.threshold) for s in statistics]))

    def use(self, related: Bool[Tensor, "I K K"]) -> Bool[Tensor, "I K K"]:
        """Train with these relations of each dataset from now on, wherever they come from; returns them."""
        self.related = related
        self.targets = torch.stack(
            [target_matrix(row, found) for row, found in zip(self.annotated, related, strict=True)]
        )
        return related

    def predict(self, logits: Float[Tensor, "B K H W"], dataset: str) -> Int[Tensor, "B H W"]:
        """Labels as the dataset would give them, as indices into its own label list."""
        return restricted_prediction(logits, self._columns[dataset])
