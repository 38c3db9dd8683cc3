"""Tensors, data sets, models and the training loop. Knows nothing of HTTP or SQL."""

__version__ = "0.1.0"
