"""Schema of an uploaded data set, stored beside its rows."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from ml.images.bits import BitDepth
from ml.ingest.warning import DataWarning
from ml.spelling import EARLIER_MISSING, Notation
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
MAX_WRITTEN_CHARACTERS = 64 * 1024
"""Maximum number of characters of the texts in `Numeric.written` of all columns of a table."""
MAX_SCHEMA_BYTES = 1024 * 1024
"""Maximum size of a schema as JSON. It is part of every page and model of its data set."""

TABLE = "table.parquet"
"""File of a table's rows: float64, bool, string and UTC timestamp columns, null where missing."""
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
    notation: Notation | None = None
    """How the file writes the numbers, if not as programs do."""
    written: SkipJsonSchema[dict[str, str]] = Field(default={})
    """Texts with which the file wrote some values, such as `01234` for `1234`, if they differ and
    `distinct` is not null; for use as categories."""


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


class Date(Frozen):
    """A column of dates, with or without times: instants in UTC. The statistics leave out missing
    values."""

    kind: Literal["date"] = "date"
    name: str
    missing: int
    distinct: int | None
    """Number of distinct values; null where there are more than `MAX_CATEGORIES`."""
    format: str
    """Format of the values, spelled with YYYY, YY, MM, Mon and DD, or the unit of numbers since
    1970; times may follow. Predictions take dates of this format, and of ISO 8601."""
    has_times: bool
    """Whether any value has a time of day other than midnight in UTC."""
    min: str | None
    """Earliest value, in ISO 8601: a day or, where values have times, a time in UTC. Null, like
    `max`, if all are missing."""
    max: str | None


class Text(Frozen):
    """A column of free text: over `MAX_CATEGORIES` distinct values, or one of over `MAX_CATEGORY`
    characters. No model learns from it."""

    kind: Literal["text"] = "text"
    name: str
    missing: int


Column = Annotated[Numeric | Categorical | Boolean | Date | Text, Field(discriminator="kind")]


class TableSchema(Frozen):
    """Rows of named columns, in `TABLE`."""

    kind: Literal["table"] = "table"
    rows: int
    columns: list[Column]
    missing: list[str] = Field(default=list(EARLIER_MISSING))
    """Texts that mark a missing value."""
    split_by: str | None = None
    """Column that assigns each row to a split unless a job names another; null if the file has no
    splits. It is not a feature."""
    left_out: dict[str, str] = Field(default={})
    """Columns of the file that were not read because they cannot be used, and the reason."""
    labels: list[str] = Field(default=[])
    """Columns of which the file itself says that their values are categories."""
    warnings: SkipJsonSchema[list[DataWarning]] = Field(default=[])


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
    splits: dict[Part, int] | None = None
    """Number of images in each of the file's own splits, which are stored in this order; null if
    the file has none."""
    bit_depth: BitDepth = 16
    """Bits of the samples of 16-bit images that are used; the highest number of them is white."""
    warnings: SkipJsonSchema[list[DataWarning]] = Field(default=[])


Schema = Annotated[TableSchema | ImageSchema, Field(discriminator="kind")]
