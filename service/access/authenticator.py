"""The caller of a request, by the key or the cookie in its head."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from starlette.types import Scope

from service.access.bearers import BearerIndex
from service.access.caller import ANYBODY, Caller
from service.access.wrong_guesses import WrongGuesses
from service.errors import Forbidden, Unauthorized
from service.http.origins import SAFE_METHODS, is_foreign

COOKIE = "epochd_session"
BEARER = "bearer "
MAX_KNOWN = 1024
"""Credentials whose caller is remembered, so that a request with them needs no hash."""

NO_KEY = Unauthorized(
    "this service needs a key: send Authorization: Bearer epd_…; a browser signs in at /sign-in"
)
WRONG_KEY = Unauthorized(
    "the key is unknown, revoked or expired; it is sent as Authorization: Bearer epd_…"
)
SESSION_OVER = Unauthorized("the session is over; sign in again at /sign-in")
FOREIGN_PAGE = Forbidden("a browser can be signed in by a page of this service only, /sign-in")


class Credentials(NamedTuple):
    """Credentials in the head of a request."""

    authorization: bytes | None = None
    cookie: bytes | None = None


NONE = Credentials()


def credentials_of(headers: Iterable[tuple[bytes, bytes]]) -> Credentials:
    """Return the credentials in a request's headers."""
    authorization = cookie = None
    for name, value in headers:
        if name == b"authorization":
            # Given twice, it is no key: a proxy before this service may have checked either.
            authorization = value if authorization is None else authorization + b", " + value
        elif name == b"cookie":
            # HTTP/2 may split it, and a proxy pass on the parts.
            cookie = value if cookie is None else cookie + b"; " + value
    return Credentials(authorization, cookie)


class Authenticator:
    """Knows the callers of a process. Bound to one event loop."""

    def __init__(self, index: BearerIndex, *, open_without_keys: bool) -> None:
        """`open_without_keys` lets everybody do everything as long as there is no key."""
        self._index = index
        self._version = index.version
        self._open_without_keys = open_without_keys
        self._guesses = WrongGuesses()
        self._known: dict[Credentials, Caller] = {}
        """Callers by what they showed before."""
        self._known_version: bytes | None = None
        """Version of the keys as of which `_known` holds."""
        self._used: dict[str, float] = {}
        """Time of the last request by the id of its key, and of its session."""

    @property
    def needs_keys(self) -> bool:
        return self._index.any_keys or not self._open_without_keys

    def known(self, credentials: Credentials) -> Caller | None:
        """Return the caller who showed these credentials before; None if that needs more than a
        look. Whether a cookie counts for the request is left to the caller of this method."""
        if self._version.current() != self._known_version:
            return None
        caller = self._known.get(credentials)
        if caller is None or caller is ANYBODY:
            return caller
        now = time.time()
        if caller.expires_at is not None and caller.expires_at <= now:
            return None
        self._record(caller, now)
        return caller

    async def caller(self, scope: Scope) -> Caller | None:
        """Return the caller of a request; None if it shows neither a key nor a session.

        Raises:
            Unauthorized: the key or the session is unknown, revoked or expired.
            TooManyRequests: too many wrong keys come from the request's address.
        """
        credentials = credentials_of(scope["headers"])
        caller = self.known(credentials)
        if caller is None or (caller.session_id and not _is_own_page(scope)):
            await self._index.refresh()
            caller = await self._find(credentials, scope) if self.needs_keys else ANYBODY
            if caller is not None:
                self._remember(credentials, caller)
        return caller

    async def look_for_changes(self) -> None:
        """Notice changes of keys that nobody told of."""
        await self._index.look_for_changes()

    def take_used(self) -> tuple[dict[str, datetime], dict[str, datetime]]:
        """Return the times of the last requests with keys and in sessions since the last call, by
        id."""
        used, self._used = self._used, {}
        times = {name: datetime.fromtimestamp(at, UTC) for name, at in used.items()}
        sessions = {name: at for name, at in times.items() if name.startswith("session_")}
        return {name: at for name, at in times.items() if name not in sessions}, sessions

    async def _find(self, credentials: Credentials, scope: Scope) -> Caller | None:
        if credentials.authorization is not None:
            caller = self._by_key(credentials.authorization.decode("latin-1"))
            if caller is None:
                await self._guesses.slow_down(scope)
                raise WRONG_KEY
        else:
            tokens = _tokens(credentials.cookie)
            if not tokens or not _is_own_page(scope):
                return None
            callers = [one for token in tokens if (one := self._index.caller_of_session(token))]
            if len(callers) != 1:
                raise SESSION_OVER
            [caller] = callers
        self._record(caller, time.time())
        return caller

    async def sign_in(self, secret: str, scope: Scope) -> Caller:
        """Return the caller whose key or sign-in code this is.

        Raises:
            Forbidden: the request comes from a page of another origin, which could sign a browser
                in as somebody else, for whom its user would then work.
            Unauthorized: it is unknown, revoked or expired.
            TooManyRequests: too many wrong ones come from the request's address.
        """
        if not _is_own_page(scope):
            raise FOREIGN_PAGE
        await self._index.refresh()
        caller = self._index.caller_of_key(secret)
        if caller is None:
            await self._guesses.slow_down(scope)
            raise WRONG_KEY
        return caller

    def _by_key(self, authorization: str) -> Caller | None:
        if authorization[: len(BEARER)].lower() != BEARER:
            return None
        return self._index.caller_of_key(authorization[len(BEARER) :].strip())

    def _remember(self, credentials: Credentials, caller: Caller) -> None:
        if self._known_version != self._index.seen_version or len(self._known) >= MAX_KNOWN:
            self._known.clear()
            self._known_version = self._index.seen_version
        self._known[credentials] = caller

    def _record(self, caller: Caller, now: float) -> None:
        for used in (caller.key_id, caller.session_id):
            if used is not None:
                self._used[used] = now


def _is_own_page(scope: Scope) -> bool:
    """Return whether a cookie may count: a page of another origin, or of another port of this
    machine, must not act for who is signed in, even one that may send requests of its own."""
    return scope["method"] in SAFE_METHODS or not is_foreign(dict(scope["headers"]))


def _tokens(cookie: bytes | None) -> set[str]:
    """Return what a request shows as the token of its session: several values if another
    application of this host has set a cookie of the same name. All cookies of the host come
    together, and those of others, on whatever port, need not be well-formed."""
    parts = (cookie or b"").decode("latin-1").split(";")
    pairs = (part.strip().partition("=") for part in parts)
    return {value for name, _, value in pairs if name == COOKIE}
