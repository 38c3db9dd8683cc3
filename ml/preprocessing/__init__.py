"""Preprocessing layers, fitted on the training split and saved with the model."""

from ml.preprocessing.date_parts import date_parts
from ml.preprocessing.layers import Encode, Moments, Standardize, blank, moments, standardized

__all__ = ["Encode", "Moments", "Standardize", "blank", "date_parts", "moments", "standardized"]
