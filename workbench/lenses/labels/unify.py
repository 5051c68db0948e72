"""One label space for all datasets, proposed from the relations that were found."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from workbench.core import ConfigError
from workbench.lenses.labels.names import is_background

#: How a unified label came about.
SHARED, OWN, RENAMED = "same in several datasets", "of one dataset", "name had two meanings"


@dataclass(frozen=True)
class Proposal:
    """A unified label space.

    Attributes:
        labels: One row a unified label: name, ``origin``, ``parent`` (the unified label that holds it, or "").
        mapping: One row a dataset and label: the unified label, and the labels of the union that its samples may be
            (``leaves``): one binary loss a class can call the others negative and stay silent about these.
    """

    labels: pd.DataFrame
    mapping: pd.DataFrame

    def export(self) -> dict[str, Any]:
        """Plain values, ready for YAML or JSON: labels with parents, and dataset -> label -> unified label."""
        return {
            "labels": [
                {"name": row["label"], "parent": row["parent"] or None, "origin": row["origin"]}
                for _, row in self.labels.iterrows()
            ],
            "mapping": {
                str(dataset): {row["label"]: {"unified": row["unified"], "any_of": list(row["leaves"])}
                               for _, row in rows.iterrows()}
                for dataset, rows in self.mapping.groupby("dataset", sort=False)
            },
        }  # fmt: skip

    def text(self, kind: str) -> str:
        """As a file: ``yaml`` and ``json`` hold labels and mapping, ``csv`` the mapping of every dataset."""
        if kind == "csv":
            table = self.mapping.assign(any_of=["|".join(leaves) for leaves in self.mapping["leaves"]])
            return str(table[["dataset", "label", "unified", "any_of"]].to_csv(index=False))
        if kind == "json":
            return json.dumps(self.export(), indent=2, ensure_ascii=False) + "\n"
        import yaml

        return str(yaml.safe_dump(self.export(), sort_keys=False, allow_unicode=True))


Node = tuple[str, str]


def propose(
    spaces: Mapping[str, Sequence[str]], relations: pd.DataFrame, rejected: Iterable[tuple[Node, Node]] = ()
) -> Proposal:
    """Merge what is the same, nest what is part of another label, keep the rest apart.

    Labels related as *same* become one. *Part of* and *contradicts* become an edge to the whole; edges that would close
    a circle are dropped, the least certain first. Two labels of one name that were not found to be the same are kept
    apart under their dataset's name, unless nothing is known about them, in which case the name decides.
    The rule is our choice.

    Args:
        rejected: Pairs of (dataset, label) whose relation a person has turned down.
    """
    turned_down = {frozenset(pair) for pair in rejected}
    nodes = [(dataset, label) for dataset, labels in spaces.items() for label in labels]
    group = {node: node for node in nodes}
    rows = [row for _, row in relations.iterrows()] if len(relations) else []
    rows = [row for row in rows if frozenset(_nodes(row)) not in turned_down and not row.get("explained", False)]
    related = {frozenset(_nodes(row)) for row in rows if row["kind"] != "unrelated" and not _guess(row)}
    for row in rows:
        first, second = _nodes(row)
        by_name = row["label_a"] == row["label_b"] and frozenset((first, second)) not in related and _unknown(row)
        if row["kind"] == "same" or by_name:
            _merge(group, first, second)
    edges = _edges(rows, group)
    names = _names(nodes, group)
    parents = {names[child]: names[whole] for child, whole in edges.items()}
    return Proposal(_label_table(nodes, group, names, parents), _mapping_table(nodes, group, names, parents))


def edited(
    spaces: Mapping[str, Sequence[str]], unified: Mapping[Node, str], parents: Mapping[str, str] | None = None
) -> Proposal:
    """A label space as a person wants it.

    Args:
        unified: (dataset, label) -> unified label; labels that share one are merged.
        parents: Unified label -> the unified label that holds it; those without a parent may be left out.

    Raises:
        ConfigError: a label has no unified name, a parent is no unified label, or parents form a circle.
    """
    nodes = [(dataset, label) for dataset, labels in spaces.items() for label in labels]
    for node in nodes:
        if not unified.get(node, "").strip():
            raise ConfigError(f"Label '{node[1]}' of {node[0]} has no unified name. Write one, e.g. '{node[1]}'.")
    first: dict[str, Node] = {}
    group = {node: first.setdefault(unified[node].strip(), node) for node in nodes}
    names = {root: name for name, root in first.items()}
    held = {label: whole for label, whole in (parents or {}).items() if whole and label in first}
    for label, whole in held.items():
        if whole not in first:
            raise ConfigError(f"'{whole}', the parent of '{label}', is no unified label. Labels: {', '.join(first)}.")
        if label == whole or _leads_to({(a, ""): (b, "") for a, b in held.items()}, (whole, ""), (label, "")):
            raise ConfigError(f"'{label}' and '{whole}' would each be a part of the other. Clear one of the parents.")
    return Proposal(_label_table(nodes, group, names, held), _mapping_table(nodes, group, names, held))


def _nodes(row: pd.Series) -> tuple[Node, Node]:
    return (row["dataset_a"], row["label_a"]), (row["dataset_b"], row["label_b"])


def _guess(row: pd.Series) -> bool:
    return pd.isna(row.get("certainty", np.nan))


def _unknown(row: pd.Series) -> bool:
    """Whether nothing was measured about the pair, so that only the names are left."""
    return _guess(row) or bool(row["pending"] and row["kind"] == "unrelated")


def _root(group: Mapping[Node, Node], node: Node) -> Node:
    while group[node] != node:
        node = group[node]
    return node


def _merge(group: dict[Node, Node], first: Node, second: Node) -> None:
    a, b = _root(group, first), _root(group, second)
    if a != b:
        group[b] = a


def _edges(rows: Sequence[pd.Series], group: Mapping[Node, Node]) -> dict[Node, Node]:
    """Part -> whole between merged labels, the surest whole of each part, without circles."""
    found = [row for row in rows if row["kind"] in ("part of", "contradicts") and not _guess(row)]
    parent: dict[Node, Node] = {}
    for row in sorted(found, key=lambda row: -row["certainty"]):
        first, second = _nodes(row)
        part, whole = (second, first) if row["direction"] == "b in a" else (first, second)
        child, top = _root(group, part), _root(group, whole)
        if child == top or child in parent or _leads_to(parent, top, child):
            continue
        parent[child] = top
    return parent


def _leads_to(parent: Mapping[Node, Node], start: Node, end: Node) -> bool:
    while start in parent:
        start = parent[start]
        if start == end:
            return True
    return False


def _names(nodes: Sequence[Node], group: Mapping[Node, Node]) -> dict[Node, str]:
    """A different name for every merged label; the dataset's name is added where a name is taken twice."""
    roots = list(dict.fromkeys(_root(group, node) for node in nodes))
    taken = [root[1] for root in roots]
    return {root: root[1] if taken.count(root[1]) == 1 else f"{root[1]} ({root[0]})" for root in roots}


def _label_table(
    nodes: Sequence[Node], group: Mapping[Node, Node], names: Mapping[Node, str], parents: Mapping[str, str]
) -> pd.DataFrame:
    members: dict[Node, list[Node]] = {}
    for node in nodes:
        members.setdefault(_root(group, node), []).append(node)
    rows = []
    for root, held in members.items():
        origin = SHARED if len({dataset for dataset, _ in held}) > 1 else OWN if names[root] == root[1] else RENAMED
        datasets = ", ".join(dict.fromkeys(dataset for dataset, _ in held))
        rows.append(
            {"label": names[root], "parent": parents.get(names[root], ""), "origin": origin, "datasets": datasets}
        )
    return pd.DataFrame(rows, columns=["label", "parent", "origin", "datasets"])


def _mapping_table(
    nodes: Sequence[Node], group: Mapping[Node, Node], names: Mapping[Node, str], parents: Mapping[str, str]
) -> pd.DataFrame:
    """Each dataset's label with its unified label and those inside it that the dataset does not tell apart itself."""
    inside: dict[str, list[str]] = {name: [name] for name in names.values()}
    for child in parents:
        whole = parents[child]
        while True:
            inside[whole].append(child)
            if whole not in parents:
                break
            whole = parents[whole]
    unified = {node: names[_root(group, node)] for node in nodes}
    rows = []
    for dataset, label in nodes:
        name = unified[dataset, label]
        told_apart = {other for (owner, _), other in unified.items() if owner == dataset and other != name}
        leaves = tuple(leaf for leaf in inside[name] if leaf not in told_apart)
        background = is_background(label)
        rows.append({"dataset": dataset, "label": label, "unified": name, "leaves": leaves, "background": background})
    return pd.DataFrame(rows, columns=["dataset", "label", "unified", "leaves", "background"])
