"""Schema of an uploaded data set, stored beside its rows."""

from typing import Annotated, Literal

from pydantic import Field

from ml.ingest.warning import DataWarning
from ml.strict import Frozen

MAX_COLUMNS = 4096
MAX_ROWS = 10_000_000
MAX_VALUES = 100_000_000
"""Maximum number of rows times columns, and of pixels of all images, whatever their channels."""
MAX_CATEGORIES = 1000
"""Maximum number of distinct values of a categorical column; a column with more is text."""
MAX_CATEGORY = 1000
"""Maximum number of characters of a category; a column with a longer value is text."""
MAX_CATEGORY_CHARACTERS = 16 * 1024 * 1024
"""Maximum number of characters of all categories while a table is read."""
MAX_SCHEMA_BYTES = 1024 * 1024
"""Maximum size of a schema as JSON. It is part of every page and model of its data set."""

TABLE = "table.parquet"
"""File of a table's rows: float64, bool and string columns, null where missing."""
IMAGES = "images.npy"
"""File of uint8 images, `(rows, height, width)` or `(rows, 3, height, width)`."""
LABELS = "labels.npy"
"""File of the images' classes, int64 `(rows,)`, indices into the schema's classes."""

Part = Literal["train", "validation", "test"]
PART_ORDER: tuple[Part, ...] = ("train", "validation", "test")
"""Order in which the rows of a data set's own splits are stored."""


class Numeric(Frozen):
    """A column of numbers, float64. The statistics leave out missing values."""

    kind: Literal["numeric"] = "numeric"
    name: str
    missing: int
    """Number of rows without a value."""
    distinct: int | None
    """Number of distinct values; null where there are more than `MAX_CATEGORIES`."""
    whole: bool
    """Whether every value is a whole number."""
    min: float | None
    max: float | None
    mean: float | None
    std: float | None
    """Population standard deviation. Null, like `min`, `max` and `mean`, if all are missing."""


class Category(Frozen):
    """A value of a categorical column, and the number of rows with it."""

    value: str
    count: int


class Categorical(Frozen):
    """A column of at most `MAX_CATEGORIES` distinct texts."""

    kind: Literal["categorical"] = "categorical"
    name: str
    missing: int
    categories: list[Category]
    """Categories in code point order of their values."""


class Boolean(Frozen):
    """A column of booleans."""

    kind: Literal["boolean"] = "boolean"
    name: str
    missing: int
    true: int
    """Number of rows that are true."""


class Text(Frozen):
    """A column of free text: over `MAX_CATEGORIES` distinct values, or one of over `MAX_CATEGORY`
    characters. No model learns from it."""

    kind: Literal["text"] = "text"
    name: str
    missing: int


Column = Annotated[Numeric | Categorical | Boolean | Text, Field(discriminator="kind")]


class TableSchema(Frozen):
    """Rows of named columns, in `TABLE`."""

    kind: Literal["table"] = "table"
    rows: int
    columns: list[Column]
    warnings: list[DataWarning] = []


class ImageClass(Frozen):
    """A class of images, and the number of images in it."""

    name: str
    count: int


class ImageSchema(Frozen):
    """Classified images of one size, in `IMAGES` and `LABELS`."""

    kind: Literal["images"] = "images"
    rows: int
    height: int
    width: int
    channels: Literal[1, 3]
    """1 for grey; 3 for red, green and blue."""
    classes: list[ImageClass]
    warnings: list[DataWarning] = []


Schema = Annotated[TableSchema | ImageSchema, Field(discriminator="kind")]
