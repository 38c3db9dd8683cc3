"""Limits of text files, and the mark at the start of some."""

from ml.errors import Invalid

MIB = 1024 * 1024
BOM = b"\xef\xbb\xbf"
BLOCK_BYTES = 4 * MIB
"""Bytes parsed at a time, and the maximum length of a row."""


def too_long() -> Invalid:
    """Return the refusal of a file with too long a row."""
    return Invalid(f"has a row of over {BLOCK_BYTES // MIB} MiB, the maximum")
