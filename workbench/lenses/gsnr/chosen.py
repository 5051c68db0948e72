"""What samples that somebody chose mean to a lens of gradient moments."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from workbench.lenses.makeup import shares_of
from workbench.lenses.words import listed, percent


def chosen_words(domains: Sequence[str], found: pd.DataFrame) -> str:
    """What these figures tell about the chosen samples, and what to record to be told more.

    Args:
        domains: Domains that moments were recorded within; none where they were recorded over all samples together.
        found: What the samples are (:func:`workbench.lenses.makeup.makeup`).
    """
    held = shares_of(found, domains, "domain")
    if held:
        said = [f"{percent(share)} of them lie in '{domain}'" for domain, share in held.items()]
        return (
            f"GSNR was recorded within each domain, not per sample: {listed(said)}. The view Domains tells them apart."
        )
    return (
        "GSNR is a mean over many samples' gradients and cannot be parted afterwards, so the figures below stay the "
        "same. Record it within groups of samples with `domains=` to tell them apart."
    )
