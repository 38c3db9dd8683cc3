"""Find the dialect of a text file."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ml.errors import Invalid
from ml.ingest.dialects.delimiter import find_delimiter
from ml.ingest.dialects.dialect import Dialect, guess
from ml.ingest.dialects.head import find_head
from ml.ingest.dialects.names import complete
from ml.ingest.dialects.quotes import OddQuotes, check_quotes
from ml.ingest.dialects.records import Record, records
from ml.ingest.dialects.rewriting import Rewriting
from ml.ingest.dialects.sample import Sample, read_sample
from ml.ingest.dialects.values import is_gap, is_number
from ml.ingest.names import check_count, check_names
from ml.ingest.options import Header, Options
from ml.ingest.warning import DataWarning

BLANKS = guess(
    "fields are taken to be divided by blanks; set delimiter to the right one if they are not"
)
ESCAPES = guess(
    r"\" is taken for a quotation mark within a field; set escape=backslash to say so, or "
    "quote=none if quotation marks are ordinary characters"
)
SINGLE = guess(
    "fields are taken to be quoted with ' because all names are; set quote to say so, or quote=none"
)
SINGLE_QUOTED = re.compile(r"""'[^'"\r\n]+'(?:[,;|\t ]+'[^'"\r\n]+')+[ \t]*(?:[\r\n]|\Z)""")
PADDING = guess("blanks between a delimiter and a quotation mark are skipped")


@dataclass(frozen=True)
class TextFile:
    """A file of UTF-8 text, and the form that it has."""

    path: Path
    dialect: Dialect


def find_dialect(source: Path, options: Options, copy: Path) -> TextFile:
    """Return the dialect of a file of UTF-8 text. A file of unusual form is rewritten to `copy`.

    Raises:
        Invalid: a quotation mark is not closed, a row is too long, there is no row, or a name of a
            column is not allowed.
    """
    sample = read_sample(source)
    is_single = options.quote is None and _has_single_quotes(sample.text)
    quote = None if options.quote == "none" else "'" if is_single else options.quote or '"'
    delimiter = _delimiter(sample, options, quote)
    wanted = Rewriting(
        escape=options.escape == "backslash" and quote is not None,
        blanks=delimiter is None,
        padded=delimiter if _is_padded(sample.text, delimiter, quote) else None,
        quote=quote,
    )
    path, done = _well_formed(source, sample.offset, wanted, delimiter or "\t", options, copy)
    warnings = {
        BLANKS: done.blanks and options.delimiter is None,
        ESCAPES: done.escape and not wanted.escape,
        PADDING: done.padded is not None,
        SINGLE: is_single,
    }
    guesses = [warning for warning, is_due in warnings.items() if is_due]
    beginning = sample if path == source else read_sample(path)
    return TextFile(path, _dialect(beginning, delimiter or "\t", quote, options.header, guesses))


def _delimiter(sample: Sample, options: Options, quote: str | None) -> str | None:
    """Return the delimiter; None: runs of blanks."""
    given = options.delimiter or sample.delimiter
    if given is not None:
        return None if given == " " else given
    text = sample.text
    if quote is not None and options.escape != "none" and f"\\{quote}" in text:
        rewritten = Rewriting(escape=True, quote=quote).apply(text.encode()).decode()
        if _broken(rewritten, quote) < _broken(text, quote):
            text = rewritten
    return find_delimiter(text, quote)


def _has_single_quotes(text: str) -> bool:
    """Whether the first line is of names in single quotation marks, and no other marks are used."""
    return SINGLE_QUOTED.match(text.lstrip()) is not None and '"' not in text


def _broken(text: str, quote: str) -> int:
    return sum(line.broken for line in records(text, ",", quote))


def _is_padded(text: str, delimiter: str | None, quote: str | None) -> bool:
    """Whether blanks precede the quotation mark of a quoted field."""
    if quote is None or delimiter is None or f" {quote}" not in text:
        return False
    edge = re.escape(delimiter)
    inside = rf"{quote}(?:[^{quote}\r\n]++|{quote * 2})*+{quote}"
    return re.search(rf"{edge} ++{inside} *+(?:{edge}|[\r\n]|\Z)", text) is not None


def _well_formed(
    source: Path, offset: int, wanted: Rewriting, delimiter: str, options: Options, copy: Path
) -> tuple[Path, Rewriting]:
    """Return the file with the quotation marks of each field in order, and how it was rewritten."""
    path = wanted.copy(source, offset, copy) if wanted.is_needed else source
    if wanted.quote is None:
        return path, wanted
    try:
        check_quotes(path, delimiter, wanted.quote)
    except OddQuotes as fault:
        if options.escape is not None:
            raise
        escaped = replace(wanted, escape=True)
        path = escaped.copy(source, offset, copy)
        try:
            check_quotes(path, delimiter, wanted.quote)
        except OddQuotes:
            raise fault from None
        return path, escaped
    return path, wanted


def _dialect(
    sample: Sample,
    delimiter: str,
    quote: str | None,
    header: Header | None,
    warnings: list[DataWarning],
) -> Dialect:
    lines = records(sample.text, delimiter, quote)
    if not sample.is_whole and len(lines) > 1:
        lines.pop()  # which may go on after the sample
    head = find_head(lines, delimiter, header)
    check_count(len(head.names))
    naming = complete(head.names[head.has_index :])
    if head.names:
        check_names(list(naming.names))
    if head.first is None:
        raise Invalid("has no rows below its header")
    return Dialect(
        delimiter=delimiter,
        quote=quote,
        offset=sample.bytes_before(head.first.start),
        first_row=head.first.row,
        names=naming.names,
        positions=tuple(range(int(head.has_index), len(head.names))),
        width=len(head.names),
        unnamed=naming.unnamed,
        quoted=_quoted(naming.names, lines, head.first.row, int(head.has_index)),
        has_comments=head.has_comments,
        warnings=(*warnings, *head.warnings, *naming.warnings),
    )


def _quoted(
    names: Sequence[str], lines: Sequence[Record], first_row: int, first_column: int
) -> frozenset[str]:
    """Return the columns that are quoted as texts, as R does: all of their values, while numbers of
    other columns are not."""
    bare: set[int] = set()
    has_bare_numbers = False
    for line in lines:
        if line.row < first_row or line.is_comment:
            continue
        for place, (text, is_quoted) in enumerate(zip(line.fields, line.quoted, strict=True)):
            if not is_quoted and not is_gap(text):
                bare.add(place)
                has_bare_numbers = has_bare_numbers or is_number(text)
    if not has_bare_numbers:
        return frozenset()
    return frozenset(name for place, name in enumerate(names, first_column) if place not in bare)
