"""What to train next against a found conflict: a gradient rule, where to split, and why.

The rules are those that ``workbench train --gradients`` knows: aggregators of TorchJD by their names there, and
``gradsplit``, which keeps a task's gradient out of the channels of tasks it conflicts with. A replay of single steps
chooses the aggregator; only a training beside the plain sum of losses can say whether it pays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workbench.lenses.conflict.statistics import Conflict

#: Aggregators of the replay board that can be trained with -> their name as a gradient rule.
RULES = {
    "MGDA": "MGDA",
    "IMTL-G": "IMTLG",
    "Aligned-MTL": "AlignedMTL",
    "UPGrad": "UPGrad",
    "DualProj": "DualProj",
    "PCGrad": "PCGrad",
    "ConFIG": "ConFIG",
}
#: The rule that splits channels.
SPLIT = "gradsplit"
#: Proposed where the replay tells no aggregator from the plain sum: it harms no task and costs little.
DEFAULT = "UPGrad"


@dataclass(frozen=True)
class Remedy:
    """``rule``: for ``--gradients``. ``reason``: one sentence with its number."""

    rule: str
    reason: str


def split_points(stats: Conflict) -> list[str]:
    """Modules in which some pair's conflict is called, those with most called pairs first."""
    inside = np.arange(stats.total if len(stats.modules) > 1 else 1)
    called = stats.called[inside].sum(axis=1)
    return [stats.modules[at] for at in inside[np.argsort(-called, kind="stable")] if stats.called[at].any()]


def remedies(stats: Conflict) -> list[Remedy]:
    """The most promising first; none where no conflict is called."""
    if len(stats.tasks) < 2 or not stats.called.any():
        return []
    found = [_aggregator(stats)]
    places = split_points(stats)
    if places:
        named = ", ".join(places[:3]) + (f" and {len(places) - 3} more" if len(places) > 3 else "")
        found.append(Remedy(SPLIT, f"Conflicts beyond noise sit in {named}: split the channels of layers by task."))
    return found


def _aggregator(stats: Conflict) -> Remedy:
    board = stats.replay
    if board is not None:
        gain = np.where(board.worst_gain_low > 0, board.worst_gain, -np.inf)
        known = [at for at, name in enumerate(board.names) if name in RULES and np.isfinite(gain[at])]
        if known:
            best = max(known, key=lambda at: float(gain[at]))
            return Remedy(
                RULES[board.names[best]],
                f"Replayed, {board.names[best]} lifts the worst-off task's cosine with the step by {gain[best]:.2f} "
                f"over the plain sum, for about {len(stats.tasks)} backward passes a step instead of one.",
            )
    return Remedy(
        DEFAULT, "The replay tells no aggregator from the plain sum; UPGrad harms no task and gives up little."
    )
