"""Training methods from the literature, one file a paper."""

from __future__ import annotations

#: The methods, each a module of this package; a test holds the tuple to the files.
METHODS: tuple[str, ...] = ("uniseg", "mvcom", "cdt", "gsnr_dropout", "gradsplit", "mahalanobis_continual")
