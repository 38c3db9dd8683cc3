"""Tensors, data sets, models and the training loop, independent of HTTP and SQL."""

__version__ = "0.1.0"
