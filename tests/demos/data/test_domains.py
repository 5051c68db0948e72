from __future__ import annotations

import numpy as np

from workbench.demos.data import invert, mnist
from workbench.demos.data.domains import DOMAINS, digit_domains


def test_domains_are_disjoint_samples_of_one_class_space():
    train, test = digit_domains(100, np.random.default_rng(0))
    assert tuple(train) == tuple(test) == DOMAINS
    assert {name: len(part) for name, part in test.items()} == dict.fromkeys(DOMAINS, 100)
    assert sum(len(part) for name, part in train.items() if name != "uci") == 5000 - 500
    plain = np.concatenate([train["mnist"].images, test["mnist"].images])
    upright = np.concatenate([invert(train["inverted"].images), invert(test["inverted"].images)])
    known = {image.tobytes() for image in plain}
    assert len(known) == len(plain) == 1000
    assert not known & {np.round(image, 6).tobytes() for image in upright}


def test_labels_go_with_their_pictures():
    train, _ = digit_domains(100, np.random.default_rng(0))
    by_picture = {image.tobytes(): label for image, label in zip(mnist().images, mnist().labels, strict=True)}
    part = train["mnist"]
    assert all(by_picture[image.tobytes()] == label for image, label in zip(part.images, part.labels, strict=True))
