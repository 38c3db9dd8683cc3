"""Requests that web pages of other origins send."""

from collections.abc import Mapping

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def is_foreign(fields: Mapping[bytes, bytes]) -> bool:
    """Return whether a page of another origin sends a request with these headers: browsers say so
    in headers that they let no page set. As Go's `http.CrossOriginProtection` decides it."""
    origin, site = fields.get(b"origin"), fields.get(b"sec-fetch-site")
    if site is not None:
        return site not in (b"same-origin", b"none")
    # A browser of before 2023, or none: it would send no origin.
    host = fields.get(b"host", b"")
    return origin is not None and origin.lower().partition(b"://")[2] != host.lower()
