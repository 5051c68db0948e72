"""The `workbench` command."""

from __future__ import annotations

import click


@click.group()
def main() -> None:
    """See what went wrong in training runs."""
