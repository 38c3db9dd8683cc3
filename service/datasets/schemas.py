"""Request and response bodies about data sets."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from ml.errors import Invalid
from ml.ingest.options import Options
from ml.ingest.schema import Schema
from ml.specs import Name
from ml.strict import Strict, parse
from service.errors import Unprocessable
from service.schemas import Body

Columns = Annotated[list[str], Field(max_length=4096)]


class UploadQuery(Strict):
    """Query parameters of an upload."""

    name: Name | None = Field(
        default=None,
        description="By default the file's name without its ending, where it has one.",
    )
    target: str | None = Field(
        default=None, max_length=1000, description="The column that is learned by default."
    )
    encoding: str | None = Field(default=None, description="Of a text file; by default UTF-8.")
    delimiter: str | None = Field(
        default=None, description="Between the fields of a text file; by default found out."
    )
    missing: list[str] = Field(
        default=[], description="Texts that stand for a missing value, beside the usual ones."
    )
    numeric: Columns = Field(default=[], description="Columns to be read as numbers ...")
    categorical: Columns = Field(default=[], description="... as categories ...")
    boolean: Columns = Field(default=[], description="... as true and false ...")
    text: Columns = Field(default=[], description="... as texts, which no model learns from.")
    image_size: str | None = Field(
        default=None,
        max_length=20,
        description="To which images are resized: a side, or height x width, such as 28 or 32x48.",
    )

    def options(self) -> Options:
        """Return how the file is to be read.

        Raises:
            Unprocessable: there is no such way.
        """
        types: dict[str, str] = {}
        for kind in ("numeric", "categorical", "boolean", "text"):
            for name in getattr(self, kind):
                if (other := types.setdefault(name, kind)) != kind:
                    message = f"names {name!r}, which {other} names too; a column is of one kind"
                    raise Unprocessable.at(Invalid(message), "query", kind)
        document = {
            "encoding": self.encoding,
            "delimiter": self.delimiter,
            "missing": self.missing,
            "types": types,
            "image_size": self._size(),
        }
        try:
            return parse(Options, document)
        except Invalid as error:
            raise Unprocessable.at(error, "query") from None

    def _size(self) -> list[int] | None:
        if self.image_size is None:
            return None
        sides = self.image_size.split("x")
        if len(sides) > 2 or not all(side.isdecimal() and side.isascii() for side in sides):
            message = "must be a side, or height x width, such as 28 or 32x48"
            raise Unprocessable.at(Invalid(message), "query", "image_size")
        return [int(sides[0]), int(sides[-1])]


class _Known(Body):
    id: str
    name: str
    target: str | None = Field(description="The column that is learned by default.")
    sha256: str = Field(description="Of the file as it came.")
    bytes: int
    created_at: datetime


class DatasetSummary(_Known):
    """An uploaded data set, in short."""

    kind: Literal["table", "images"]
    rows: int


class Dataset(_Known):
    """An uploaded data set."""

    options: Options = Field(description="How it was read.")
    contents: Schema = Field(description="Its columns or classes, and figures about them.")


class Preview(Body):
    """The first rows of a data set, as they were read."""

    columns: list[str]
    rows: list[list[Any]] = Field(
        description="Values in the order of the columns; null where there is none. An image is a "
        "`data:` URL of a PNG. They are fewer than asked for where they are large."
    )


class TensorPeek(Body):
    """A tensor, and its first values."""

    shape: list[int]
    dtype: str
    values: list[Any] = Field(
        description="Of the first rows, of fewer where they are large; NaN, where there is no "
        "value, null."
    )


class Batch(Body):
    """What one step of a training loop is given."""

    inputs: TensorPeek
    targets: TensorPeek


class Batches(Body):
    """What a DataLoader yields over a data set."""

    rows: int
    batches: int = Field(description="In all; the last may be smaller.")
    features: list[str] = Field(description="The columns of the inputs; none for images.")
    classes: list[str] = Field(description="What the numbers in the targets stand for.")
    data: list[Batch] = Field(description="The first batches.")
