"""Routes for keys, sessions and the sender of a request."""

from asyncio import to_thread
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Body, Path, Query, Request, Response

from service.access.authenticator import COOKIE
from service.access.caller import SCOPE_KEY, Caller
from service.access.schemas import ClassRequest, Key, KeyRequest, Me, NewKey, Session, SignIn
from service.errors import Conflict, NotFound, TooManyRequests, Unauthorized
from service.http.problem_json import problems
from service.routes.dependencies import WRITES, AppComponents, Components, CurrentCaller
from service.schemas import Page

router = APIRouter(tags=["access"])

SessionId = Annotated[str, Path(description="Id of the session.")]
KeyName = Annotated[str, Path(description="Name or id of the key.")]
Revoked = Annotated[bool, Query(description="Whether to list revoked keys too.")]
SIGN_IN_EXAMPLES = {"a pupil": {"value": {"key": "k3fq-9xtm-2hvw"}}}
KEY_EXAMPLES = {
    "a colleague": {"value": {"name": "anna", "role": "member"}},
    "an application": {
        "value": {
            "name": "shop",
            "role": "predictor",
            "models": ["prices*"],
            "expires_days": 90,
        }
    },
}
CLASS_EXAMPLES = {"a class": {"value": {"name": "7b", "pupils": 25, "expires_days": 300}}}


@router.get("/me")
def get_me(caller: CurrentCaller, components: AppComponents) -> Me:
    """Return the sender of this request: its role, and the owner of what it makes."""
    return me(caller, components)


@router.post(
    "/session", status_code=201, responses=problems(Unauthorized, TooManyRequests, Conflict)
)
async def sign_in(
    request: Request,
    response: Response,
    body: Annotated[SignIn, Body(openapi_examples=SIGN_IN_EXAMPLES)],
    components: AppComponents,
) -> Me:
    """Sign a browser in with a key or a sign-in code. The response sets a cookie that scripts
    cannot read and that only pages of this service send."""
    caller = await begin_session(request, response, body.key.get_secret_value(), components)
    return me(caller, components)


@router.delete("/session", status_code=204, responses=problems(Conflict), dependencies=WRITES)
def sign_out(
    request: Request, response: Response, caller: CurrentCaller, components: AppComponents
) -> None:
    """Sign this browser out."""
    if caller.session_id is None:
        raise Conflict("the request does not come from a browser that is signed in")
    components.sessions.end(caller.session_id, caller)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")


@router.get("/sessions")
def list_sessions(caller: CurrentCaller, components: AppComponents) -> Page[Session]:
    """List the browsers that are signed in with the sender's key, or for an admin with any key,
    newest first."""
    return Page(data=components.sessions.listed(caller), next=None)


@router.delete(
    "/sessions/{session_id}",
    status_code=204,
    responses=problems(NotFound),
    dependencies=WRITES,
)
def end_session(session_id: SessionId, caller: CurrentCaller, components: AppComponents) -> None:
    """Sign another browser out."""
    components.sessions.end(session_id, caller)


@router.get("/keys")
def list_keys(components: AppComponents, revoked: Revoked = False) -> Page[Key]:
    """List all keys by name, without their secrets; with `revoked`, those too."""
    return Page(data=components.keys.listed(revoked=revoked), next=None)


@router.post("/keys", status_code=201, responses=problems(Conflict), dependencies=WRITES)
def add_key(
    request: Annotated[KeyRequest, Body(openapi_examples=KEY_EXAMPLES)],
    response: Response,
    components: AppComponents,
) -> NewKey:
    """Add a key. The response has its secret, which is not shown again. The first key must be an
    admin's; from then on, every request needs a key."""
    key = components.keys.add(request)
    response.headers["Location"] = f"/keys/{key.name}"
    return key


@router.get("/keys/{key}", responses=problems(NotFound))
def get_key(key: KeyName, components: AppComponents) -> Key:
    """Return a key, by its name or id, without its secret."""
    return components.keys.fetch(key)


@router.delete(
    "/keys/{key}", status_code=204, responses=problems(NotFound, Conflict), dependencies=WRITES
)
def revoke_key(key: KeyName, components: AppComponents) -> None:
    """Revoke a key at once and for ever, and end its sessions. What its owner made stays, and is
    left to admins."""
    components.keys.revoke(key)


@router.post("/keys/{key}/rotate", responses=problems(NotFound), dependencies=WRITES)
def rotate_key(key: KeyName, components: AppComponents) -> NewKey:
    """Give a key another secret at once, and end its sessions."""
    return components.keys.rotate(key)


@router.post("/classes", status_code=201, responses=problems(Conflict), dependencies=WRITES)
def add_class(
    request: Annotated[ClassRequest, Body(openapi_examples=CLASS_EXAMPLES)],
    components: AppComponents,
) -> Page[NewKey]:
    """Add a key of a member for each pupil of a class, `7b-01` to `7b-25`, whose secret is a
    sign-in code that can be typed."""
    return Page(data=components.keys.add_class(request.name, request.keys()), next=None)


def me(caller: Caller, components: Components) -> Me:
    """Return a caller as it may see itself."""
    expires_at = caller.expires_at
    return Me(
        keys=components.authenticator.needs_keys,
        owner=caller.owner,
        role=caller.role,
        key=caller.key_name,
        session=caller.session_id,
        models=list(caller.models),
        sees_all=caller.is_admin or caller.sees_all,
        expires_at=None if expires_at is None else datetime.fromtimestamp(expires_at, UTC),
    )


async def begin_session(
    request: Request, response: Response, secret: str, components: Components
) -> Caller:
    """Begin a session for the bearer of a key, and set its cookie in `response`.

    Raises:
        Conflict: the service has no keys.
        Forbidden: the request comes from a page of another origin.
        Unauthorized: the key is unknown, revoked or expired.
        TooManyRequests: too many wrong ones come from the request's address.
    """
    if not components.authenticator.needs_keys:
        raise Conflict("this service has no keys: everybody may do everything")
    secret = secret.strip()
    caller = await components.authenticator.sign_in(secret, request.scope)
    request.scope[SCOPE_KEY] = caller
    address = request.client.host if request.client else ""
    browser = request.headers.get("user-agent", "")
    async with components.write_turns.turn():
        session = await to_thread(components.sessions.begin, secret, address, browser)
    response.set_cookie(
        COOKIE,
        session.token,
        expires=session.expires_at,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return caller
