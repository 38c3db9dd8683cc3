"""What is known of an uploaded data set without reading its rows again."""

from typing import Annotated, Literal

from pydantic import Field

from ml.strict import Frozen

MAX_COLUMNS = 4096
MAX_ROWS = 10_000_000
MAX_VALUES = 100_000_000
"""Rows times columns, and pixels of all images together, in however many colours."""
MAX_CATEGORIES = 1000
"""Different values of a column or a target that is categories; a column with more is text."""
MAX_CATEGORY = 1000
"""Characters of a category; a column with a longer one is text."""

TABLE = "table.parquet"
"""A table's rows in a data set's directory: float64, bool and string columns, null if missing."""
IMAGES = "images.npy"
"""Uint8 images, `(rows, height, width)` or `(rows, 3, height, width)` ..."""
LABELS = "labels.npy"
"""... and the class of each, int64 `(rows,)`, an index into the schema's classes."""


class Numeric(Frozen):
    """A column of numbers, float64. The figures are over those that are not missing."""

    kind: Literal["numeric"] = "numeric"
    name: str
    missing: int
    """Rows without a value."""
    distinct: int | None
    """Different values; null where there are more than `MAX_CATEGORIES`."""
    whole: bool
    """Whether every number is whole."""
    min: float | None
    max: float | None
    mean: float | None
    std: float | None
    """Of the population; null, as the three before, where all are missing."""


class Category(Frozen):
    """A value of a categorical column, and how many rows have it."""

    value: str
    count: int


class Categorical(Frozen):
    """A column of a few different texts."""

    kind: Literal["categorical"] = "categorical"
    name: str
    missing: int
    categories: list[Category]
    """By value, in code point order."""


class Boolean(Frozen):
    """A column of true and false."""

    kind: Literal["boolean"] = "boolean"
    name: str
    missing: int
    true: int
    """Rows that are true."""


class Text(Frozen):
    """A column of more than `MAX_CATEGORIES` different texts, or of long ones: no model learns from
    it."""

    kind: Literal["text"] = "text"
    name: str
    missing: int


Column = Annotated[Numeric | Categorical | Boolean | Text, Field(discriminator="kind")]


class TableSchema(Frozen):
    """Rows of named columns, in `TABLE`."""

    kind: Literal["table"] = "table"
    rows: int
    columns: list[Column]


class ImageClass(Frozen):
    """A class of images, and how many there are of it."""

    name: str
    count: int


class ImageSchema(Frozen):
    """Images of one size in classes, in `IMAGES` and `LABELS`."""

    kind: Literal["images"] = "images"
    rows: int
    height: int
    width: int
    channels: Literal[1, 3]
    """Grey, or red, green and blue."""
    classes: list[ImageClass]


Schema = Annotated[TableSchema | ImageSchema, Field(discriminator="kind")]
