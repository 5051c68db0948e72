"""Per-sample gradient moments of every parameter at about the cost of one backward pass."""
