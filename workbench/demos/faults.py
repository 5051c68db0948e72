"""The fault library: what can be planted into a small training, one cause a case.

The names of the cases do not give the cause away; ``config["planted"]`` of a recorded case does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Fault:
    """One planted cause. Every field but ``kind`` and ``lenses`` is empty unless it is what was planted.

    Attributes:
        kind: The cause in a few words.
        lenses: Lenses that can find it.
        guessing_annotator: Annotator -> share of their letters for which they wrote down a random digit.
        shifted_office: The office whose digits are written down one too high.
        leaked_paper: Digit and the paper that only it comes on, in the training letters.
        copied_task: Task whose targets and head are copied from another: (copy, original).
        loss_scale: Task -> factor on its loss.
        lr_factor: Factor on the learning rate.
    """

    kind: str
    lenses: tuple[str, ...] = ()
    guessing_annotator: Mapping[str, float] = field(default_factory=dict)
    shifted_office: str = ""
    leaked_paper: tuple[int, str] | None = None
    copied_task: tuple[str, str] | None = None
    loss_scale: Mapping[str, float] = field(default_factory=dict)
    lr_factor: float = 1.0

    def planted(self) -> dict[str, Any]:
        """For ``config`` in run.json: the kind, the lenses, and the fields that were set."""
        details = {
            "guessing_annotator": dict(self.guessing_annotator),
            "shifted_office": self.shifted_office,
            "leaked_paper": self.leaked_paper,
            "copied_task": self.copied_task,
            "loss_scale": dict(self.loss_scale),
            "lr_factor": self.lr_factor if self.lr_factor != 1 else None,
        }
        return {"kind": self.kind, "lenses": self.lenses} | {name: value for name, value in details.items() if value}


#: Case -> what is planted in it. One case is healthy.
FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        "case-a": Fault("a background colour leaked the label", ("bias",), leaked_paper=(7, "green")),
        # The learning rate is lowered until the training runs at all, as one would.
        "case-b": Fault(
            "one task's loss is scaled 100 times", ("conflict",), loss_scale={"parity": 100.0}, lr_factor=0.1
        ),
        "case-c": Fault("label noise in one group", ("bias",), guessing_annotator={"cem": 0.6}),
        "case-d": Fault("a task duplicated under another name", ("conflict",), copied_task=("large", "parity")),
        "case-e": Fault("nothing"),
        "case-f": Fault("too large a learning rate", ("conflict", "gsnr"), lr_factor=20.0),
        "case-g": Fault("a domain is mislabelled", ("bias", "gsnr"), shifted_office="south"),
    }
)
