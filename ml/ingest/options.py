"""Options for reading an uploaded file."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ml.images.bits import BitDepth
from ml.ingest.schema import MAX_COLUMNS
from ml.spelling import MISSING, ColumnKind, Gaps, Hints
from ml.spelling.date_formats import DateStyle
from ml.spelling.numbers import DecimalMark, ThousandsMark
from ml.strict import Strict

Encoding = Literal["utf-8", "utf-16", "utf-32", "latin-1", "windows-1252", "gb18030", "shift_jis"]
Delimiter = Literal[",", ";", "\t", "|", " "]
Quote = Literal['"', "'", "none"]
Escape = Literal["backslash", "none"]
Header = Literal["first", "none"]
Layout = Literal["nhwc", "nchw"]
Pixels = Literal["0-1", "0-255", "0-4095", "0-65535"]
Side = Annotated[int, Field(ge=1, le=2048)]


class Options(Strict):
    """Properties of a file that cannot be, or are not to be, detected."""

    encoding: Encoding | None = Field(
        default=None, description="Encoding of a text file; None: UTF-8."
    )
    delimiter: Delimiter | None = Field(
        default=None,
        description="Field delimiter; a blank stands for runs of blanks and tabs. None: the one "
        "that divides the lines most evenly.",
    )
    header: Header | None = Field(
        default=None,
        description="`first`: the first line has the names of the columns; `none`: no line has, "
        "and they are called c1, c2, …; None: found.",
    )
    quote: Quote | None = Field(
        default=None,
        description="Quotation mark of fields; `none`: quotation marks are ordinary characters. "
        'None: ".',
    )
    escape: Escape | None = Field(
        default=None,
        description="Quotation marks within a quoted field: `backslash`: they are preceded by a "
        "backslash; `none`: they are doubled. None: doubled, unless only the other fits.",
    )
    missing: list[Annotated[str, Field(max_length=100)]] | None = Field(
        default=None,
        max_length=100,
        description="Texts that mark a missing value instead of the usual ones, besides the empty "
        "text; None: the usual ones.",
    )
    decimal: DecimalMark | None = Field(
        default=None, description="Decimal mark of numbers in texts; None: detected by column."
    )
    thousands: ThousandsMark | None = Field(
        default=None,
        description="Mark between groups of three digits of numbers in texts; None: detected by "
        "column.",
    )
    types: dict[str, ColumnKind] = Field(
        default={},
        max_length=MAX_COLUMNS,
        description="Kinds of columns; those of the others are inferred.",
    )
    dates: dict[str, DateStyle] = Field(
        default={},
        max_length=MAX_COLUMNS,
        description="Order of day, month and year, or unit since 1970, of columns of type `date`; "
        "those of the others are inferred.",
    )
    ignore: list[Annotated[str, Field(max_length=1000)]] = Field(
        default=[],
        max_length=MAX_COLUMNS,
        description="Columns to leave out; also arrays of an NPZ file.",
    )
    layout: Layout | None = Field(
        default=None,
        description="Order of the sides of an array of images: rows, height, width, channels "
        "(nhwc) or rows, channels, height, width (nchw); None: the one that fits its shape.",
    )
    pixels: Pixels | None = Field(
        default=None,
        description="Range of the pixels of an array of images; None: the one that fits them.",
    )
    image_size: Annotated[list[Side], Field(min_length=2, max_length=2)] | None = Field(
        default=None,
        description="Height and width that images are resized to; None: their own, if equal.",
    )
    bit_depth: BitDepth | None = Field(
        default=None,
        description="Bits of the samples of 16-bit images that are used: 12 if white is 4,095. "
        "None: as many as the images of the file need together.",
    )

    @model_validator(mode="after")
    def _styles_are_of_dates(self) -> "Options":
        for name in self.dates:
            if self.types.get(name) != "date":
                raise ValueError(f"dates names {name!r}, whose type in `types` must be date")
        return self

    def gaps(self) -> Gaps:
        """Return the texts that mark a missing value."""
        return Gaps.of(MISSING if self.missing is None else self.missing)

    def hints(self, decimal_comma: bool = False, quoted: frozenset[str] = frozenset()) -> Hints:
        """Return what the user and the file say about the spelling of columns."""
        return Hints(self.types, self.decimal, self.thousands, decimal_comma, self.dates, quoted)
