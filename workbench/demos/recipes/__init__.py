"""The recipes of :data:`workbench.demos.RECIPES`, a folder each: what it asks, and its training."""
