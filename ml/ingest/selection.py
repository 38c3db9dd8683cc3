"""The columns of a file to read, as its reader's options choose them."""

from collections.abc import Mapping, Sequence

from ml.errors import Invalid
from ml.ingest.names import shown
from ml.ingest.options import Options
from ml.spelling import ColumnKind

MAX_LISTED = 20


def kept(names: Sequence[str], options: Options) -> list[str]:
    """Return the names of a table's columns without those to ignore.

    Raises:
        Invalid: an option names a column that the table lacks, or that another option leaves out,
            or nothing is left.
    """
    check_ignored(options.ignore, names)
    check_unlike(options.ignore, options.types)
    left = [name for name in names if name not in set(options.ignore)]
    if not left:
        raise Invalid("has no columns but those to ignore")
    check_types(options.types, left)
    return left


def check_ignored(ignore: Sequence[str], names: Sequence[str]) -> None:
    """Check that every column to leave out exists.

    Raises:
        Invalid: a column is missing.
    """
    there = set(names)
    for name in ignore:
        if name not in there:
            there_are = f"choose from {_few(names)}" if names else "images have no columns"
            raise Invalid(f"there is no column {shown(name)} to ignore; {there_are}")


def check_unlike(ignored: Sequence[str], types: Mapping[str, ColumnKind]) -> None:
    """Check that no column to leave out has a declared kind.

    Raises:
        Invalid: one has.
    """
    for name in ignored:
        if name in types:
            raise Invalid(
                f"the column {name!r} is to be {types[name]} and to be ignored; choose one"
            )


def check_types(types: Mapping[str, ColumnKind], names: Sequence[str]) -> None:
    """Check that every column with a declared kind is one of `names`.

    Raises:
        Invalid: it is missing.
    """
    there = set(names)
    for name, kind in types.items():
        if name not in there:
            raise Invalid(f"there is no column {name!r} to be {kind}; choose from {_few(names)}")


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:MAX_LISTED]) + (", ..." if len(names) > MAX_LISTED else "")
