"""Shapes and types are checked at run time while the tests run; draws are the same on every run."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")

from hypothesis import settings
from jaxtyping import install_import_hook

install_import_hook("workbench", "typechecker.check")

settings.register_profile("workbench", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("workbench")
