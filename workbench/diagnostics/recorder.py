"""Record a PyTorch training loop: the run writer with methods that take models, losses and tensors."""

from __future__ import annotations

from workbench.core import RunWriter


class Recorder(RunWriter):
    """A :class:`workbench.core.RunWriter` that computes what it records."""
