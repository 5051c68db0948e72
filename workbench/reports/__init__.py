"""A run summed up for people who were not there."""

from workbench.reports.card import card, card_markdown

__all__ = ["card", "card_markdown"]
