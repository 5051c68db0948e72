"""Rows of the task Jacobian: the gradient of every (task, mini-batch) on every part of the shared network."""
