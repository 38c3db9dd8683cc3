"""The header of a table: which line it is, and the names that it gives."""

from collections.abc import Sequence

from ml.ingest.dialects.records import Record
from ml.ingest.dialects.values import (
    counts_up,
    is_gap,
    is_number,
    is_progression,
    is_year,
    outline,
)


def looks_like_header(first: Record, below: Sequence[Record]) -> bool | None:
    """Whether the line `first` names the columns of the lines `below`, or is a row as they are;
    None if nothing tells.

    A word above numbers is a name. A number above numbers, a date above dates, or a value that its
    column has again, is a row's, unless the numbers of the line count columns: 0, 1, 2 or years.
    """
    names = rows = 0
    for place, cell in enumerate(first.fields):
        column = _column(below, place)
        if not column or is_gap(cell):
            continue
        texts = [line.fields[place] for line in column]
        if first.quoted[place] and is_number(cell):
            # Names in quotation marks above bare numbers, as R writes them.
            is_name = all(is_number(text) for text in texts) and not any(
                line.quoted[place] for line in column
            )
        else:
            is_name = _is_name_of(cell, texts)
        names += is_name
        rows += not is_name and _is_one_of(cell, texts)
    if _counts_columns(first, below):
        names += rows
    if names == rows == 0:
        return None
    return names >= rows


def is_index_header(first: Record, below: Sequence[Record], delimiter: str) -> bool:
    """Whether the line `first` lacks the name of the first column, which has the names of rows, as
    R's `write.table` writes it: consecutive numbers, texts in quotation marks, or, where blanks
    divide the fields, different texts."""
    width = len(first.fields) + 1
    if len(below) < 2 or not all(len(line.fields) == width for line in below):
        return False
    if not _leads(first, below):
        return False
    texts = [line.fields[0] for line in below]
    if counts_up(texts):
        return True
    if len(set(texts)) < len(texts):
        return False
    if all(line.quoted[0] for line in below):
        return True
    return delimiter == "\t" and not any(is_number(text) for text in texts)


def is_index(name: str, below: Sequence[Record]) -> bool:
    """Whether the first column has the names or numbers of rows: it has no name and no two equal
    values, or only whole numbers; or the name that pandas gives such a column when it reads it."""
    texts = [line.fields[0] for line in below]
    if name.startswith("Unnamed: 0"):
        return counts_up(texts)
    if name or not any(texts):
        return False
    return len(set(texts)) == len(texts) or all(t.isascii() and t.isdecimal() for t in texts)


def _leads(first: Record, below: Sequence[Record]) -> bool:
    """Whether the next line is a row, not a better header."""
    return not (first.row == 1 and len(below) > 1 and looks_like_header(below[0], below[1:]))


def _column(below: Sequence[Record], place: int) -> list[Record]:
    """Return the lines that have a value in a column."""
    return [line for line in below if place < len(line.fields) and not is_gap(line.fields[place])]


def _is_name_of(cell: str, texts: list[str]) -> bool:
    if not any(character.isalpha() for character in cell) or is_number(cell):
        is_time = is_year(cell) and all(is_number(text) for text in texts)
        return is_time and not all(is_year(text) for text in texts)
    if all(is_number(text) for text in texts):
        return True
    return not _has_digit(cell) and len(texts) > 1 and all(_has_digit(text) for text in texts)


def _is_one_of(cell: str, texts: list[str]) -> bool:
    if is_number(cell):
        return all(is_number(text) for text in texts)
    if cell[0].isdigit():
        return len(texts) > 1 and {outline(text) for text in texts} == {outline(cell)}
    return cell in texts


def _counts_columns(first: Record, below: Sequence[Record]) -> bool:
    """Whether the numbers of a line count its columns, and those of the next line do not."""
    places = [place for place, cell in enumerate(first.fields) if is_number(cell)]
    if not below or not is_progression([first.fields[place] for place in places]):
        return False
    next_line = below[0].fields
    return not is_progression([next_line[p] for p in places if p < len(next_line)])


def _has_digit(text: str) -> bool:
    return any(character.isdigit() for character in text)
