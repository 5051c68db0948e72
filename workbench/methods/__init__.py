"""Training methods from the literature, one file a paper."""

from __future__ import annotations
