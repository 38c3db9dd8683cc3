"""Entries of the audit log: the sender of a request, its action, and its result."""

import asyncio
import os
import pwd
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import unquote

from starlette.types import Message, Scope, Send

from service.access import rules
from service.access.audit_log import AuditLog
from service.access.caller import SCOPE_KEY, Caller
from service.access.rules import Match
from service.access.schemas import AuditEntry
from service.access.secrets import may_be_secret
from service.http.origins import SAFE_METHODS
from service.logs import REQUEST_ID

NO_ROUTE = "-"
KINDS: Mapping[str, str] = {
    **{parameter: kind for kind, parameter in rules.PARAMETERS.items()},
    "key": "key",
    "session_id": "session",
}
"""Kind of the object that a path names, by the name of its parameter."""
PARTS = ("version", "alias")
"""Parameters that name a part of it."""
MAX_CHARACTERS = 200
STRANGERS_PER_HOUR = 1_000
"""Lines of senders without a valid key, who must not push those of others out of the log."""


class Named(NamedTuple):
    """The object of an action."""

    kind: str | None = None
    id: str | None = None


class AuditTrail:
    """Writes a line for each request that changes something, or would."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log
        self._hour = 0
        self._strangers = 0
        """Lines of strangers in this hour."""
        self._omitted = 0

    def recording(self, scope: Scope, found: Match | None, send: Send) -> Send:
        """Return a `send` that writes the line of a request before its response: whoever has the
        response finds the line. Of a request that needs none, it is `send` itself."""
        if not _is_action(scope, found):
            return send

        async def record_and_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                status = message["status"]
                named = _named(found) or (_created(message) if status < 300 else None)
                entry = self._entry(scope, found, named, status, REQUEST_ID.get())
                if entry is not None:
                    await asyncio.to_thread(self._log.append, entry)
            await send(message)

        return record_and_send

    def record_refusal(self, scope: Scope, status: int, request_id: str) -> None:
        """Write the line of a request that the connection itself refuses, without waiting."""
        found = rules.match(scope["method"], scope["path"])
        if not _is_action(scope, found):
            return
        entry = self._entry(scope, found, _named(found), status, request_id)
        if entry is not None:
            asyncio.get_running_loop().run_in_executor(None, self._log.append, entry)

    def _entry(
        self,
        scope: Scope,
        found: Match | None,
        named: Named | None,
        status: int,
        request_id: str,
    ) -> AuditEntry | None:
        """Return the entry of a request, or None if it is one of too many."""
        caller: Caller | None = scope.get(SCOPE_KEY)
        if caller is None and not self._has_room():
            self._omitted += 1
            return None
        omitted, self._omitted = self._omitted, 0
        kind, object_id = named or Named()
        if object_id and status >= 400 and may_be_secret(object_id):
            object_id = None  # a key in the place of its name
        client = scope.get("client")
        return AuditEntry(
            time=datetime.now(UTC),
            request_id=request_id,
            key_id=caller and caller.key_id,
            key=caller and caller.key_name,
            owner=caller and caller.owner,
            address=_short(str(client[0])) if client else None,
            method=scope["method"],
            action=found.route if found else f"{scope['method']} {NO_ROUTE}",
            kind=kind,
            object=_short(object_id),
            status=status,
            omitted=omitted or None,
        )

    def _has_room(self) -> bool:
        """Return whether a stranger may have a line, and count it."""
        hour = int(time.monotonic() // 3600)
        if hour != self._hour:
            self._hour, self._strangers = hour, 0
        self._strangers += 1
        return self._strangers <= STRANGERS_PER_HOUR


def of_command(command: str, kind: str, object_id: str) -> AuditEntry:
    """Return the entry of a command that succeeded."""
    user = os.getuid()
    try:
        name = pwd.getpwuid(user).pw_name
    except KeyError:
        name = str(user)  # a container's user needs no name
    return AuditEntry(
        time=datetime.now(UTC),
        user=name,
        address="cli",
        action=f"epochd {command}",
        kind=kind,
        object=object_id,
    )


def _is_action(scope: Scope, found: Match | None) -> bool:
    if scope["method"] in SAFE_METHODS:
        return False
    return found is None or not found.rule.only_computes


def _named(found: Match | None) -> Named | None:
    """Return the object that the path of a request names."""
    parameters: Mapping[str, str] = found.parameters if found else {}
    for parameter, kind in KINDS.items():
        if parameter in parameters:
            parts = (parameters[part] for part in PARTS if part in parameters)
            return Named(kind, "@".join((parameters[parameter], *parts)))
    return None


def _created(start: Message) -> Named | None:
    """Return the object that a request has made: the one to which the response leads."""
    for name, value in start["headers"]:
        if name == b"location":
            return _named(rules.match("GET", unquote(value.decode("latin-1"))))
    return None


def _short(text: str | None) -> str | None:
    if text is None or len(text) <= MAX_CHARACTERS:
        return text
    return f"{text[: MAX_CHARACTERS - 1]}…"
