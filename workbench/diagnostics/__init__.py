"""Torch objects in, numbers out: task-gradient Gramians, GSNR, embeddings, predictions."""
