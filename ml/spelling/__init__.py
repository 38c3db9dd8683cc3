"""How values are written: one set of functions for the columns of a file and for requests.

`Gaps` says which texts and numbers are missing values. A `Spelling` says what else a column's texts
mean; it is part of a data set's schema and of a model's signature. `columns` reads arrays of a
file, `values` single values of a request, `Categories` finds the category of either. They agree.
Torch is not imported here.
"""

from ml.spelling.categories import UNKNOWN, Categories, text_of
from ml.spelling.columns import TYPES, as_texts, read_column, unreadable
from ml.spelling.gaps import EARLIER_MISSING, MISSING, Gaps
from ml.spelling.guess import Guesses, guess_spellings
from ml.spelling.hints import Finding, Hints
from ml.spelling.numbers import PLAIN, Notation
from ml.spelling.spelling import ColumnKind, Spelling
from ml.spelling.values import ValueReader

__all__ = [
    "EARLIER_MISSING",
    "MISSING",
    "PLAIN",
    "TYPES",
    "UNKNOWN",
    "Categories",
    "ColumnKind",
    "Finding",
    "Gaps",
    "Guesses",
    "Hints",
    "Notation",
    "Spelling",
    "ValueReader",
    "as_texts",
    "guess_spellings",
    "read_column",
    "text_of",
    "unreadable",
]
