"""Gradient-boosted trees: grown by LightGBM, kept as tensors, evaluated by torch."""

from ml.trees.folds import fold_of
from ml.trees.forest import Forest
from ml.trees.growth import MIN_ROWS, Grown, affordable_rows, grow

__all__ = ["MIN_ROWS", "Forest", "Grown", "affordable_rows", "fold_of", "grow"]
