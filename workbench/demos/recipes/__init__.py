"""Implementations of the recipes of :data:`workbench.demos.RECIPES`, one module each."""
