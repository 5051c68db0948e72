"""The problems of the benchmark: pairs and larger sets of tasks, in two halves that have no problem in common.

``TUNING`` may be looked at while a forecast is being developed. ``REPORTED`` is what figures are published on.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from workbench.demos.sharing.problem import Sharing
from workbench.demos.sharing.tasks import TaskSpec

#: Family -> what sets its problems apart.
FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        "related": "the answers follow from the same digit",
        "unrelated": "the answers follow from different properties of the picture",
        "contradictory": "the same pictures ask for opposite answers, from one head or from two",
        "scale": "one loss is larger by a factor",
        "noise": "one task's answers are partly random",
        "datasets": "MNIST and UCI digits, with the same or with another naming of the classes",
        "domains": "one question in two renderings of the digits",
        "few": "one task has few pictures, the other many",
        "set": "three to six tasks",
    }
)


def _of(family: str, *specs: TaskSpec, common: bool = False, note: str = "") -> Sharing:
    """A problem named after its tasks, which are named after their targets (and sources where these differ)."""
    sources = {spec.source for spec in specs}
    names = [spec.target + (f", {spec.source}" if len(sources) > 1 else "") for spec in specs]
    named = {
        name if names.count(name) == 1 else f"{name} {'abcdef'[i]}": spec
        for i, (name, spec) in enumerate(zip(names, specs, strict=True))
    }
    where = f" ({sources.pop()})" if len(sources) == 1 and sources != {"plain"} else ""
    title = " + ".join(named) + where + (f", {note}" if note else "")
    return Sharing(f"{family}: {title}", family, named, common)


def _same(family: str, *targets: str, note: str = "", **options: Any) -> Sharing:
    """Tasks on the same pictures."""
    return _of(family, *(TaskSpec(target, **options) for target in targets), common=True, note=note)


def _own(family: str, *targets: str, note: str = "", **options: Any) -> Sharing:
    """Tasks that each have pictures of their own."""
    return _of(family, *(TaskSpec(target, **options) for target in targets), note=note)


def _head(family: str, first: str, second: str, **options: Any) -> Sharing:
    """Two tasks that read one head."""
    return _own(family, first, second, head="common", note="one head", **options)


def _scaled(first: str, second: str, factor: float, **options: Any) -> Sharing:
    specs = (TaskSpec(first, **options), TaskSpec(second, scale=factor, **options))
    return _of("scale", *specs, common=True, note=f"second × {factor:g}")


def _noisy(first: str, second: str, noise: float, **options: Any) -> Sharing:
    specs = (TaskSpec(first, **options), TaskSpec(second, noise=noise, **options))
    return _of("noise", *specs, note=f"second {noise:.0%} noise")


def _sources(
    family: str, target: str, first: str, second: str, other: str = "", head: str = "", **options: Any
) -> Sharing:
    specs = (TaskSpec(target, first, head=head, **options), TaskSpec(other or target, second, head=head, **options))
    return _of(family, *specs, note="one head" if head else "")


def _few(target: str, other: str, n: int, many: int = 1500, **options: Any) -> Sharing:
    return _of(
        "few", TaskSpec(target, n=n, **options), TaskSpec(other, n=many, **options), note=f"{n} and {many} pictures"
    )


TUNING: tuple[Sharing, ...] = (
    _same("related", "digit", "parity"),
    _same("related", "digit", "large"),
    _same("related", "loop", "straight"),
    _own("related", "digit", "prime"),
    _own("related", "parity", "evenness"),
    _same("unrelated", "digit", "ink"),
    _same("unrelated", "parity", "slant"),
    _same("unrelated", "digit", "second digit", source="two", n=1000),
    _same("unrelated", "digit", "place", source="moved", n=1000),
    _same("unrelated", "loop", "right", source="moved", n=1000),
    _own("unrelated", "half one", "half two"),
    _own("unrelated", "width", "thickness"),
    _head("contradictory", "digit", "digit, all renamed"),
    _head("contradictory", "digit", "digit, some renamed"),
    _head("contradictory", "parity", "evenness"),
    _head("contradictory", "ink", "minus ink"),
    _own("contradictory", "digit", "digit, all renamed"),
    _same("contradictory", "slant", "minus slant"),
    _scaled("digit", "ink", 30),
    _scaled("parity", "digit", 0.1),
    _scaled("loop", "width", 10),
    _noisy("digit", "digit", 0.5),
    _noisy("loop", "parity", 1.0),
    _noisy("prime", "slant", 1.0),
    _sources("datasets", "digit", "plain", "uci", head="common"),
    _sources("datasets", "digit", "plain", "uci", other="digit, all renamed", head="common"),
    _sources("datasets", "parity", "plain", "uci"),
    _sources("domains", "digit", "plain", "inverted", head="common"),
    _sources("domains", "digit", "plain", "upside-down"),
    _sources("domains", "digit", "blurred", "photographs", head="common"),
    _few("digit", "digit", 60),
    _few("parity", "digit", 100),
    _few("loop", "slant", 60),
    _few("slant", "digit", 60),
    _same("set", "digit", "parity", "large", "prime"),
    _same("set", "digit", "ink", "slant"),
    _same("set", "parity", "large", "loop", "width", "thickness", "height"),
    _own("set", "half one", "half two", "prime", "loop"),
    _own("set", "digit", "digit, all renamed", "digit, some renamed", head="common", note="one head"),
    _same("set", "digit", "quarter", "slant", source="turned", n=1000),
)

REPORTED: tuple[Sharing, ...] = (
    _same("related", "digit", "loop"),
    _same("related", "digit", "remainder of 3"),
    _same("related", "parity", "prime"),
    _same("related", "large", "bottom heavy"),
    _own("related", "digit", "straight"),
    _own("related", "loop", "loop"),
    _own("related", "digit", "digit"),
    _same("unrelated", "digit", "slant"),
    _same("unrelated", "digit", "thickness"),
    _same("unrelated", "ink", "width"),
    _same("unrelated", "prime", "height"),
    _same("unrelated", "digit", "quarter", source="turned", n=1000),
    _same("unrelated", "parity", "place", source="moved", n=1000),
    _same("unrelated", "digit", "down", source="moved", n=1000),
    _same("unrelated", "loop", "second digit", source="two", n=1000),
    _own("unrelated", "half one", "bottom heavy"),
    _own("unrelated", "remainder of 3", "slant"),
    _head("contradictory", "loop", "parity"),
    _head("contradictory", "prime", "half two"),
    _head("contradictory", "slant", "minus slant"),
    _head("contradictory", "value", "minus value"),
    _head("contradictory", "digit, some renamed", "digit, all renamed"),
    _head("contradictory", "width", "thickness"),
    _own("contradictory", "digit", "digit, some renamed"),
    _same("contradictory", "ink", "minus ink"),
    _same("contradictory", "parity", "evenness"),
    _scaled("digit", "slant", 10),
    _scaled("digit", "parity", 30),
    _scaled("thickness", "digit", 10),
    _scaled("prime", "loop", 0.1),
    _noisy("digit", "digit", 0.9),
    _noisy("parity", "loop", 0.4),
    _noisy("slant", "prime", 1.0),
    _noisy("digit", "ink", 2.0),
    _sources("datasets", "digit", "plain", "uci"),
    _sources("datasets", "parity", "plain", "uci", head="common"),
    _sources("datasets", "digit", "plain", "uci", other="digit, some renamed", head="common"),
    _sources("datasets", "loop", "plain", "uci", other="parity"),
    _sources("domains", "digit", "plain", "upside-down", head="common"),
    _sources("domains", "digit", "inverted", "photographs"),
    _sources("domains", "parity", "plain", "mirrored", head="common"),
    _sources("domains", "digit", "plain", "tilted", head="common"),
    _sources("domains", "slant", "plain", "mirrored", head="common"),
    _few("digit", "loop", 60),
    _few("loop", "digit", 60),
    _few("thickness", "ink", 60),
    _few("prime", "prime", 60),
    _few("digit", "width", 100),
    _same("set", "digit", "loop", "straight"),
    _same("set", "digit", "slant", "thickness", "width"),
    _same("set", "ink", "slant", "width", "height", "thickness"),
    _same("set", "parity", "prime", "large", "bottom heavy", "remainder of 3"),
    _same("set", "digit", "second digit", "loop", source="two", n=1000),
    _same("set", "digit", "right", "down", source="moved", n=1000),
    _same("set", "parity", "quarter", "loop", "thickness", source="turned", n=1000),
    _own("set", "digit", "parity", "loop", "slant"),
    _own("set", "digit", "digit, some renamed", "digit, all renamed"),
    _own("set", "parity", "loop", "prime", head="common", note="one head"),
    _of(
        "set",
        *(TaskSpec("digit", source, head="common") for source in ("plain", "uci", "inverted", "photographs")),
        note="one head",
    ),
    _of(
        "set", *(TaskSpec("digit", source) for source in ("plain", "uci", "inverted", "tilted", "mirrored", "blurred"))
    ),
)
