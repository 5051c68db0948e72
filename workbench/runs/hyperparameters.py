"""Read hyper-parameter files without building the Python objects they may name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from workbench.core import Problem


class _PlainLoader(yaml.SafeLoader):
    """A safe loader that keeps the plain value under an unknown tag, and says so, instead of building an object."""


def _keep_plain(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node) or suffix
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.MappingNode)
    return loader.construct_mapping(node, deep=True)


_PlainLoader.add_multi_constructor("!", _keep_plain)
_PlainLoader.add_multi_constructor("tag:", _keep_plain)


def read_yaml(file: Path) -> tuple[dict[str, Any], list[Problem]]:
    """The mapping in a YAML file; values under unknown tags are kept as plain data, nothing is executed."""
    try:
        data = yaml.load(file.read_text(encoding="utf-8"), Loader=_PlainLoader)
    except (yaml.YAMLError, UnicodeDecodeError, OSError, ValueError, TypeError, RecursionError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return {}, [Problem(file, f"skipped, not readable as YAML ({first_line})")]
    if data is None:
        return {}, []
    if not isinstance(data, dict):
        return {}, [Problem(file, "skipped, it does not hold names with values")]
    return {str(key): value for key, value in data.items()}, []
