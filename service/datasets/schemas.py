"""Request and response bodies about data sets."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from ml.errors import Invalid
from ml.ingest.options import Escape, Header, Options, Quote
from ml.ingest.schema import Schema
from ml.specs import Name
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
    target: str | None = Field(
        default=None, max_length=1000, description="Column that jobs predict by default."
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
    text: Columns = Field(
        default=[], description="Columns to read as text, which models do not use."
    )
    image_size: str | None = Field(
        default=None,
        max_length=20,
        description="Size to resize images to: side or height x width, for example 28 or 32x48.",
    )

    def options(self) -> Options:
        """Return the options for reading the file.

        Raises:
            Invalid: an option is invalid; `loc` begins with its name.
        """
        types: dict[str, str] = {}
        for kind in ("numeric", "categorical", "boolean", "text"):
            for name in getattr(self, kind):
                if (other := types.setdefault(name, kind)) != kind:
                    message = f"names {name!r}, which {other} also names; a column has one type"
                    raise Invalid(message, (kind,))
        document = {
            "encoding": self.encoding,
            "delimiter": DELIMITER_NAMES.get(self.delimiter or "", self.delimiter),
            "header": self.header,
            "quote": self.quote,
            "escape": self.escape,
            "missing": self.missing,
            "decimal": self.decimal,
            "thousands": self.thousands,
            "types": types,
            "image_size": self._size(),
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
    target: str | None = Field(description="Column that jobs predict by default.")
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
