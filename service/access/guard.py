"""The guard before all routes: it identifies senders, and refuses what their roles forbid."""

import asyncio
from collections.abc import Callable, Mapping
from urllib.parse import quote

from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.access import rules
from service.access.audit_trail import AuditTrail
from service.access.authenticator import NO_KEY, Authenticator
from service.access.caller import ANYBODY, SCOPE_KEY, Caller, Role
from service.access.rules import Kind, Match
from service.errors import Forbidden, NotFound, Problem, Unauthorized
from service.http.problem_json import refusal

OwnerOf = Callable[[str], str | None]
"""Function that returns the owner of an object, or raises `NotFound`."""
SIGN_IN = "/sign-in"


class Guard:
    """ASGI middleware that knows the caller of every request and refuses what its role, or the
    owner of the object that it names, does not allow."""

    def __init__(
        self,
        app: ASGIApp,
        authenticator: Authenticator,
        owner_of: Mapping[Kind, OwnerOf],
        trail: AuditTrail,
    ) -> None:
        self._app = app
        self._authenticator = authenticator
        self._owner_of = owner_of
        self._trail = trail

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        found = rules.match(scope["method"], scope["path"])
        send = self._trail.recording(scope, found, send)
        try:
            await self._admit(scope, found)
        except (Problem, SQLAlchemyError) as error:
            response = await _refused(Request(scope), error)
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _admit(self, scope: Scope, found: Match | None) -> None:
        """Find out the caller of a request, who may stay unknown on a public route, and check that
        it is allowed.

        Raises:
            Unauthorized: the request needs a key, and has none that is valid.
            Forbidden: the caller's role, or the owner of the object, does not allow it.
            NotFound: there is no such route, or no such object that the caller may see.
        """
        is_public = found is not None and found.rule.is_public
        scope[SCOPE_KEY] = None
        try:
            caller = await self._authenticator.caller(scope)
        except Unauthorized:
            # A wrong key, or an old cookie, keeps nobody from signing in.
            if not is_public:
                raise
            return
        scope[SCOPE_KEY] = caller
        if caller is ANYBODY or is_public:
            return
        if caller is None:
            raise NO_KEY
        if found is not None:
            await self._check(found, caller)
        elif not caller.is_admin:
            raise NotFound(f"there is no {scope['method']} {scope['path']}")

    async def _check(self, found: Match, caller: Caller) -> None:
        rule, object_id = found.rule, found.object_id
        if caller.role not in rule.roles:
            raise Forbidden(
                f"the role {caller.role} may not do this; it needs the role {_either(rule.roles)}"
            )
        if rule.kind is None or object_id is None:
            return
        if rule.kind == "model":
            object_id = object_id.partition("@")[0]  # the protocol v2 takes an alias too
            caller.check_model(object_id)
        if caller.is_admin or (caller.sees_all and not rule.changes):
            return
        owner = await asyncio.to_thread(self._owner_of[rule.kind], object_id)
        if not caller.may_see(owner):
            raise NotFound(_MISSING[rule.kind] % repr(object_id))
        if rule.changes and not caller.may_change(owner):
            noun = _NOUNS[rule.kind]
            if owner is None:
                raise Forbidden(f"the {noun} belongs to nobody; only admins may change it")
            raise Forbidden(f"the {noun} belongs to {owner}; only {owner} and admins may change it")


_NOUNS: Mapping[Kind, str] = {"job": "job", "dataset": "data set", "model": "model"}
_MISSING: Mapping[Kind, str] = {kind: f"there is no {noun} %s" for kind, noun in _NOUNS.items()}
"""The stores' words for an object that does not exist."""


def _either(roles: frozenset[Role]) -> str:
    return " or ".join(role for role in Role if role in roles)


async def _refused(request: Request, error: Exception) -> Response:
    """Return the response to a refused request: for a page that a browser opens, the one to sign
    in."""
    opens_page = request.method == "GET" and "text/html" in request.headers.get("accept", "")
    if isinstance(error, Unauthorized) and opens_page:
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"{SIGN_IN}?next={quote(target)}", 303)
    return await refusal(request, error)
