"""The head of a table: titles and comments above it, and its header."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from ml.ingest.dialects.delimiter import usual_width
from ml.ingest.dialects.dialect import guess
from ml.ingest.dialects.header import is_index, is_index_header, looks_like_header
from ml.ingest.dialects.names import numbered
from ml.ingest.dialects.records import Record
from ml.ingest.names import shown
from ml.ingest.options import Header
from ml.ingest.warning import DataWarning

MAX_TITLE_LINES = 30
NO_RECORD = Record(row=0, start=0, fields=("",), quoted=(False,), broken=False)


@dataclass(frozen=True)
class Head:
    """The lines above the rows of a table."""

    names: tuple[str, ...]
    """Name of each column, empty for one without."""
    last: int
    """Number of the last line above the rows, 0 if there is none."""
    first: Record | None = None
    """The first row; None if there is none."""
    has_index: bool = False
    """Whether the first column has the names of rows, and is left out."""
    has_comments: bool = False
    warnings: tuple[DataWarning, ...] = ()


def find_head(lines: Sequence[Record], delimiter: str, header: Header | None) -> Head:
    """Return the head of a table whose first lines are `lines`; `header` says whether the first of
    them is its header, if the user does."""
    empty = {line.row for line in lines if line.is_empty}
    filled = [line for line in lines if line.filled]
    head = _find_head(filled, empty, delimiter, header)
    # The first row may have nothing but gaps.
    rows = (line for line in lines if line.row > head.last and not line.is_empty)
    return replace(head, first=next(rows, None))


def _find_head(
    lines: Sequence[Record], empty: Collection[int], delimiter: str, header: Header | None
) -> Head:
    if not lines:
        return Head((), 0)
    if header == "first":
        return _below(lines[0], lines[1:], delimiter)
    comments = _comments(lines)
    body = lines[len(comments) :]
    if header == "none":
        head = Head(numbered(len(body[0].fields)), body[0].row - 1)
        return _with_comments(head, comments)
    named = _commented_header(comments, body)
    if named is not None:
        head = _below(named, body, delimiter)
        return _with_comments(head, comments[:-1])
    titles = _titles(body, empty, delimiter)
    body = body[len(titles) :]
    is_header = looks_like_header(body[0], body[1:]) is not False
    head = _below(body[0], body[1:], delimiter) if is_header else _without_header(body)
    return _with_comments(_with_titles(head, titles), comments)


def _comments(lines: Sequence[Record]) -> list[Record]:
    """Return the lines at the start that begin with #, unless all do."""
    count = next((n for n, line in enumerate(lines) if not line.is_comment), 0)
    return list(lines[:count])


def _commented_header(comments: Sequence[Record], body: Sequence[Record]) -> Record | None:
    """Return the last comment without its #, if it is the header of the rows below it."""
    if not comments or looks_like_header(body[0], body[1:]):
        return None
    last, width = comments[-1], usual_width(body)
    bare = last.fields[0].lstrip("#").strip()
    if len(last.fields) == width + 1 and not bare:
        return replace(last, fields=last.fields[1:], quoted=last.quoted[1:])
    if len(last.fields) == width and (width > 1 or looks_like_header(last, body)):
        return replace(last, fields=(bare or last.fields[0], *last.fields[1:]))
    return None


def _titles(body: Sequence[Record], empty: Collection[int], delimiter: str) -> list[Record]:
    """Return the lines above the header that are not of the table: they have a single text, or are
    not as wide as the table, and a line that is a header follows."""
    width, passed = usual_width(body), False
    if width == 1:
        return []
    for count, line in enumerate(body[: MAX_TITLE_LINES + 1]):
        below = body[count + 1 :]
        is_wide = len(line.fields) in (width, width + 1) and (
            len(line.filled) > 1 or all(line.fields[1:])
        )
        if is_wide or is_index_header(line, below, delimiter):
            told = looks_like_header(line, below)
            apart = count and line.row - 1 in empty
            padded = width > 2 and all(len(title.fields) == width for title in body[:count])
            is_likely = told or (padded and told is None and below)
            if (apart and told) or (not passed and (is_likely or (apart and told is None))):
                return list(body[:count])
            if told is not None:
                return []
            passed = True
    return []


def _below(header: Record, below: Sequence[Record], delimiter: str) -> Head:
    """Return the head that ends with the line `header`."""
    names = tuple(" ".join(name.split()) for name in header.fields)
    width = usual_width(below) if below else len(names)
    whole = [line for line in below if len(line.fields) == width]
    if len(names) == width + 1 and not names[-1]:
        names = names[:-1]
    elif len(names) == width - 1 and not any(line.fields[-1] for line in whole):
        names = (*names, "")
    elif is_index_header(header, below, delimiter):
        names = ("", *names)
    index = width > 1 and len(names) == width and is_index(names[0], whole)
    warnings = (_index_warning(names[0], whole),) if index else ()
    return Head(names, header.row, has_index=index, warnings=warnings)


def _without_header(body: Sequence[Record]) -> Head:
    names = numbered(len(body[0].fields))
    called = (
        f"the column is called {names[0]}"
        if len(names) == 1
        else f"the columns are called {names[0]} to {names[-1]}"
    )
    warning = guess(
        f"row {body[0].row} looks like data, not like names: {called}. Set "
        "header=none to say so, or header=first if it has their names"
    )
    return Head(names, body[0].row - 1, warnings=(warning,))


def _index_warning(name: str, rows: Sequence[Record]) -> DataWarning:
    what = f"the first column, {name!r}," if name else "the first column, which has no name,"
    values = ", ".join(line.fields[0] for line in rows[:3])
    remedy = "rename it" if name else "give it a name"
    return guess(
        f"{what} has numbers or names of rows ({shown(values)}) and is left out; {remedy} to use "
        "it",
        name or None,
    )


def _with_titles(head: Head, titles: Sequence[Record]) -> Head:
    if not titles:
        return head
    text = " ".join(titles[0].filled)
    warning = guess(
        f"{_lines(titles)} above the header skipped, as a title: {shown(text)}; set header=first "
        "if the first line is the header"
    )
    return replace(head, warnings=(warning, *head.warnings))


def _with_comments(head: Head, comments: Sequence[Record]) -> Head:
    if not comments:
        return head
    text = " ".join(comments[0].filled)
    warning = guess(f"{_lines(comments)} skipped as comments: {shown(text)}")
    return replace(head, has_comments=True, warnings=(warning, *head.warnings))


def _lines(lines: Sequence[Record]) -> str:
    return "1 line" if len(lines) == 1 else f"{len(lines)} lines"
