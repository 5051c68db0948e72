"""One class space, six domains: the digits 0 to 9 as MNIST, as UCI digits, and as four changes of MNIST.

No digit of MNIST appears in two domains, so that the domains are independent samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from workbench.demos.data.changes import blend, blur, invert, rotate
from workbench.demos.data.digits import Digits, mnist, uci
from workbench.demos.data.photographs import patches

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]

#: How each domain made of MNIST digits changes them.
CHANGES: Mapping[str, Change] = MappingProxyType(
    {
        "mnist": lambda images, rng: images,
        "inverted": lambda images, rng: invert(images),
        "rotated": lambda images, rng: rotate(images, 40),
        "blurred": lambda images, rng: blur(images, 1.5),
        "photographs": lambda images, rng: blend(images, patches(len(images), rng)),
    }
)
#: All domains, in the order of legends.
DOMAINS = ("mnist", "uci", "inverted", "rotated", "blurred", "photographs")


def digit_domains(n_test: int, rng: np.random.Generator) -> tuple[dict[str, Digits], dict[str, Digits]]:
    """Training and test digits of each domain, disjoint; ``n_test`` test digits a domain."""
    shares = dict(zip(CHANGES, np.array_split(rng.permutation(len(mnist())), len(CHANGES)), strict=True))
    whole = {"uci": uci()}
    for name, change in CHANGES.items():
        digits = mnist().take(shares[name])
        whole[name] = Digits(change(digits.images, rng), digits.labels)
    parts = {name: whole[name].split(n_test, rng) for name in DOMAINS}
    return {name: part[0] for name, part in parts.items()}, {name: part[1] for name, part in parts.items()}
