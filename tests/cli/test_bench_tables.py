"""Tables of benchmarks are put into a file beside those that are there."""

from __future__ import annotations

from workbench.cli.bench import with_tables

TEXT = "# Costs\n\nWords.\n\n## One\n\n| 1 |\n\nMore.\n\n## Two\n\n| 2 |\n"


def test_a_table_replaces_the_one_of_its_title_and_leaves_the_others():
    changed = with_tables(TEXT, {"One": "| 7 |\n"})
    assert changed == "# Costs\n\nWords.\n\n## One\n\n| 7 |\n\n## Two\n\n| 2 |\n"
    assert with_tables(changed, {"One": "| 1 |\n\nMore.\n"}) == TEXT


def test_new_tables_follow():
    assert with_tables(TEXT, {"Three": "| 3 |\n"}) == f"{TEXT}\n## Three\n\n| 3 |\n"
    assert with_tables("", {"One": "| 1 |\n", "Two": "| 2 |\n"}) == "## One\n\n| 1 |\n\n## Two\n\n| 2 |\n"
