"""Gradient-boosted trees: grown by LightGBM, kept as tensors, evaluated by torch."""

from ml.trees.folds import fold_of
from ml.trees.forest import Forest
from ml.trees.growth import MIN_ROWS, Grown, grow, most_rows

__all__ = ["MIN_ROWS", "Forest", "Grown", "fold_of", "grow", "most_rows"]
