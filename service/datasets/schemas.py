"""Request and response bodies about data sets."""

from datetime import datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from ml.datasets.targets import Several, plain
from ml.errors import Invalid
from ml.ingest.options import Escape, Header, Options, Quote
from ml.ingest.schema import Schema
from ml.ingest.warning import DataWarning
from ml.names import Name
from ml.spelling import ColumnKind
from ml.spelling.date_formats import DateStyle
from ml.strict import Strict, parse
from service.schemas import Body

Columns = Annotated[list[str], Field(max_length=4096)]
DELIMITER_NAMES = {"tab": "\t", "space": " "}
"""Names of delimiters that are hard to write in a query."""


class UploadQuery(Strict):
    """Query parameters of an upload."""

    name: Name | None = Field(
        default=None,
        description="Name of the data set; by default the file name without its extension.",
    )
    target: Several | None = Field(
        default=None,
        description="Column that jobs predict by default; repeated, several columns of numbers, "
        "which one model predicts.",
    )
    encoding: str | None = Field(
        default=None, description="Encoding of a text file; by default UTF-8."
    )
    delimiter: str | None = Field(
        default=None,
        max_length=10,
        description="Field delimiter of a text file: a comma, semicolon, vertical bar, `tab`, or "
        "`space` for runs of blanks; by default detected.",
    )
    header: Header | None = Field(
        default=None,
        description="`first`: the first line of a text file names its columns; `none`: they have "
        "no names, and are called c1, c2, …; by default detected.",
    )
    quote: Quote | None = Field(
        default=None,
        description='Quotation mark of fields, by default `"`; `none`: quotation marks are '
        "ordinary characters.",
    )
    escape: Escape | None = Field(
        default=None,
        description="`backslash`: a quotation mark within a field is preceded by a backslash; "
        "`none`: it is doubled; by default detected.",
    )
    missing: list[str] | None = Field(
        default=None,
        description="Texts that mean a missing value, instead of the usual ones. An empty field is "
        "always missing: a single empty text leaves no others.",
    )
    decimal: str | None = Field(
        default=None,
        description="Decimal mark of numbers in texts, . or a comma; by default detected by "
        "column.",
    )
    thousands: str | None = Field(
        default=None,
        description="Mark between groups of three digits of numbers in texts: a comma, a point, a "
        "space or an apostrophe, or empty for none; by default detected by column.",
    )
    numeric: Columns = Field(default=[], description="Columns to read as numbers.")
    categorical: Columns = Field(default=[], description="Columns to read as categories.")
    boolean: Columns = Field(default=[], description="Columns to read as booleans.")
    date: Columns = Field(
        default=[],
        description="Columns to read as dates, such as 2024-12-31, 31.12.2024 or 20241231.",
    )
    day_first: Columns = Field(
        default=[], description="Columns to read as dates with the day first: 03/04/2024 in April."
    )
    month_first: Columns = Field(
        default=[], description="Columns to read as dates with the month first: 04/03/2024."
    )
    year_first: Columns = Field(
        default=[], description="Columns to read as dates with the year first: 24-04-03."
    )
    epoch_seconds: Columns = Field(
        default=[], description="Columns to read as dates: numbers of seconds since 1970, in UTC."
    )
    epoch_milliseconds: Columns = Field(
        default=[],
        description="Columns to read as dates: numbers of milliseconds since 1970, in UTC.",
    )
    text: Columns = Field(
        default=[], description="Columns to read as text, which models do not use."
    )
    ignore: Columns = Field(
        default=[], description="Columns to leave out; also arrays of an NPZ file."
    )
    layout: str | None = Field(
        default=None,
        description="Sides of an NPZ file's array of images: `nhwc` (rows, height, width, channels)"
        " or `nchw` (rows, channels, height, width); by default the one that fits its shape.",
    )
    pixels: str | None = Field(
        default=None,
        description="Range of the pixels in an NPZ file: `0-1`, `0-255`, `0-4095` or `0-65535`; by "
        "default the one that fits them.",
    )
    image_size: str | None = Field(
        default=None,
        max_length=20,
        description="Size to resize images to: side or height x width, for example 28 or 32x48.",
    )
    bit_depth: int | None = Field(
        default=None,
        description="Bits that 16-bit images use, 10, 12, 14 or 16: 12 if white is 4,095; by "
        "default as many as they need together.",
    )

    @property
    def default_target(self) -> str | list[str] | None:
        """The column that jobs predict by default, or the several columns."""
        return None if self.target is None else plain(self.target)

    def options(self) -> Options:
        """Return the options for reading the file.

        Raises:
            Invalid: an option is invalid; `loc` begins with its name.
        """
        named: dict[str, str] = {}
        for field in (*get_args(ColumnKind), *get_args(DateStyle)):
            for name in getattr(self, field):
                if (other := named.setdefault(name, field)) == field:
                    continue
                if other == "date" and field in get_args(DateStyle):
                    named[name] = field
                    continue
                message = f"names {name!r}, which {other} also names; a column has one type"
                raise Invalid(message, (field,))
        styles = {name: field for name, field in named.items() if field in get_args(DateStyle)}
        document = {
            "encoding": self.encoding,
            "delimiter": DELIMITER_NAMES.get(self.delimiter or "", self.delimiter),
            "header": self.header,
            "quote": self.quote,
            "escape": self.escape,
            "missing": self.missing,
            "ignore": self.ignore,
            "layout": self.layout,
            "pixels": self.pixels,
            "decimal": self.decimal,
            "thousands": self.thousands,
            "types": named | dict.fromkeys(styles, "date"),
            "dates": styles,
            "image_size": self._size(),
            "bit_depth": self.bit_depth,
        }
        return parse(Options, document)

    def _size(self) -> list[int] | None:
        if self.image_size is None:
            return None
        sides = self.image_size.split("x")
        if len(sides) > 2 or not all(side.isdecimal() and side.isascii() for side in sides):
            message = "must be side or height x width, for example 28 or 32x48"
            raise Invalid(message, ("image_size",))
        return [int(sides[0]), int(sides[-1])]


class _Known(Body):
    id: str
    name: str
    owner: str | None = Field(
        description="Owner of the key that uploaded the data set; null without keys."
    )
    target: str | list[str] | None = Field(
        description="Column, or list of columns, that jobs predict by default."
    )
    sha256: str = Field(description="SHA-256 of the uploaded file.")
    bytes: int
    created_at: datetime


class DatasetSummary(_Known):
    """Summary of an uploaded data set."""

    kind: Literal["table", "images"]
    rows: int


class Dataset(_Known):
    """An uploaded data set."""

    options: Options = Field(description="Options with which the file was read.")
    contents: Schema = Field(description="Columns or classes, with their statistics.")
    warnings: list[DataWarning] = Field(
        description="Guesses made about the data, and what its owner may not expect of it.",
        examples=[
            [
                {
                    "column": "price",
                    "kind": "number_spelling",
                    "message": "'price' is read as numbers: '1,5' is 1.5; if these are no numbers, "
                    "list the column in categorical",
                }
            ]
        ],
    )
    damage: str | None = Field(
        default=None,
        description="Stored file of the data set that is missing or damaged; null if all are "
        "intact. Uploading the same file again mends it.",
    )


class Preview(Body):
    """The first rows of a data set, as parsed."""

    columns: list[str]
    rows: list[list[Any]] = Field(
        description="Rows of values in the order of the columns, null where missing. An image is a "
        "`data:` URL of a PNG. Large rows reduce the number returned."
    )


class TensorPeek(Body):
    """A tensor with its first values."""

    shape: list[int]
    dtype: str
    values: list[Any] = Field(
        description="Values of the first rows, null for NaN (a missing value). Large rows reduce "
        "the number returned."
    )


class Batch(Body):
    """Input of one training step."""

    inputs: TensorPeek
    targets: TensorPeek


class Batches(Body):
    """Batches that a DataLoader yields over a data set."""

    rows: int
    batches: int = Field(description="Total number of batches; the last may be smaller.")
    features: list[str] = Field(description="Columns of the inputs; empty for images.")
    classes: list[str] = Field(description="Class names, indexed by the numbers in the targets.")
    data: list[Batch] = Field(description="The first batches.")
