"""The table of a zip without images, told from the files beside it by their names."""

import shlex
from collections.abc import Sequence
from typing import Final

from ml.errors import Invalid
from ml.ingest.zips.members import Member

MAX_LISTED: Final = 10
"""Tables that a message lists."""

_TABLES: Final = {"csv", "tsv", "tab", "json", "jsonl", "ndjson", "parquet", "pq"}
_DOCUMENTS: Final = {"md", "markdown", "rst", "pdf", "html", "htm", "rtf", "doc", "docx", "tex"}
_ABOUT: Final = {
    "authors",
    "changelog",
    "changes",
    "citation",
    "copying",
    "croissant",
    "datapackage",
    "dataset-metadata",
    "description",
    "index",
    "licence",
    "license",
    "manifest",
    "metadata",
    "notice",
    "readme",
    "version",
}
"""Names of files about a data set, in lower case and without their ends."""
_ABOUT_EXTENSIONS: Final = {"", "txt", "json", "yaml", "yml", "xml", "cff", "bib"}


def only_table(files: Sequence[Member]) -> Member:
    """Return the table among the files of a zip: the only one whose name is that of a table, or of
    files with other names the only one that is not about the data.

    Raises:
        Invalid: there is none, or there are several.
    """
    named = [member for member in files if member.extension in _TABLES]
    data = [member for member in files if not _is_about(member)]
    tables = [member for member in named if not _is_about(member)] or named or data
    if len(tables) == 1:
        return tables[0]
    if not named:
        raise Invalid(
            "has no images and no table; put images into a folder for each class, or send one "
            "CSV, TSV, JSON or Parquet file"
        )
    shown = ", ".join(member.shown for member in tables[:MAX_LISTED])
    more = len(tables) - MAX_LISTED
    path = "/".join(tables[0].path)
    raise Invalid(
        f"has {len(tables):,} tables: {shown}{f' and {more:,} more' if more > 0 else ''}; send one "
        f"of them, such as the output of: unzip -p FILE.zip {shlex.quote(path)}"
    )


def _is_about(member: Member) -> bool:
    """Whether a file is about the data, and not the data."""
    stem = member.path[-1].casefold().partition(".")[0]
    return member.extension in _DOCUMENTS or (
        stem in _ABOUT and member.extension in _ABOUT_EXTENSIONS
    )
