"""Preconditions of requests for an alias."""

from dataclasses import dataclass

from service.errors import PreconditionFailed


@dataclass(frozen=True)
class Preconditions:
    """The headers `If-Match` and `If-None-Match` of a request for an alias."""

    match: str | None = None
    none_match: str | None = None

    def check(self, etag: str | None) -> None:
        """Check the ETag of an alias, which is None if there is no alias. See RFC 9110, sections
        13.1.1 and 13.1.2.

        Raises:
            PreconditionFailed: a precondition does not hold.
        """
        if self.match is not None and not _among(etag, self.match):
            raise PreconditionFailed(
                f"the alias {'has the ETag ' + etag if etag else 'does not exist'}; If-Match "
                f"requires {self.match}"
            )
        if self.none_match is not None and _among(etag, self.none_match):
            raise PreconditionFailed(
                f"the alias has the ETag {etag}; If-None-Match excludes {self.none_match}"
            )


def _among(etag: str | None, listed: str) -> bool:
    if etag is None:
        return False
    return listed.strip() == "*" or etag in (one.strip() for one in listed.split(","))
