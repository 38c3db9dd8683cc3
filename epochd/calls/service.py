"""Calls about keys, sessions, tensor expressions, and the service itself."""

from collections.abc import Generator, Mapping, Sequence
from datetime import datetime
from typing import Any

from epochd.calls.call import (
    Call,
    call,
    given,
    pages,
    path,
    reads,
    reads_list,
    reads_nothing,
    reads_page,
)
from epochd.schemas import (
    AuditEntry,
    ExpressionResponse,
    ExpressionResult,
    Health,
    Key,
    Me,
    NewKey,
    Page,
    Readiness,
    Session,
)


def expressions(
    *expressions: str,
    variables: Mapping[str, Any] | None = None,
    gradients: bool | Sequence[str] = False,
    zero_grad: bool = False,
    seed: int = 0,
) -> Generator[Call[Any], Any, list[ExpressionResult]]:
    """Evaluate tensor expressions in PyTorch's notation, in order, and return a result for each."""
    document = given(
        expressions=list(expressions),
        variables=variables,
        gradients=gradients if isinstance(gradients, bool) else list(gradients),
        zero_grad=zero_grad,
        seed=seed,
    )
    sent = call("POST", "/expressions", reads(ExpressionResponse), json=document)
    response: ExpressionResponse = yield from sent.repeatable()
    return response.results


def me() -> Call[Me]:
    """Return the sender of the requests: its role, and the owner of what it makes."""
    return call("GET", "/me", reads(Me))


def keys(*, revoked: bool = False) -> Call[list[Key]]:
    """Return all keys by name; with `revoked`, those too."""
    return call("GET", "/keys", reads_list(Key), params={"revoked": revoked or None})


def key(name: str) -> Call[Key]:
    """Return a key by its name or id."""
    return call("GET", path("keys", name), reads(Key))


def add_key(
    name: str,
    *,
    role: str | None = None,
    owner: str | None = None,
    models: Sequence[str] = (),
    expires_days: float | None = None,
) -> Call[NewKey]:
    """Add a key. Its secret is not shown again. The first key must be an admin's."""
    document = given(
        name=name, role=role, owner=owner, models=list(models) or None, expires_days=expires_days
    )
    return call("POST", "/keys", reads(NewKey), json=document)


def rotate_key(name: str) -> Call[NewKey]:
    """Give a key another secret at once, and end its sessions."""
    return call("POST", path("keys", name, "rotate"), reads(NewKey))


def revoke_key(name: str) -> Call[None]:
    """Revoke a key at once and for ever."""
    return call("DELETE", path("keys", name), reads_nothing)


def add_class(name: str, pupils: int, *, expires_days: float | None = None) -> Call[list[NewKey]]:
    """Add a key for each pupil of a class, whose secret is a sign-in code that can be typed."""
    document = given(name=name, pupils=pupils, expires_days=expires_days)
    return call("POST", "/classes", reads_list(NewKey), json=document)


def sessions() -> Call[list[Session]]:
    """Return the browsers that are signed in with the sender's key, or for an admin with any."""
    return call("GET", "/sessions", reads_list(Session))


def end_session(session_id: str) -> Call[None]:
    """Sign a browser out."""
    return call("DELETE", path("sessions", session_id), reads_nothing)


def audit(
    *,
    owner: str | None = None,
    key: str | None = None,
    action: str | None = None,
    object: str | None = None,
    since: datetime | None = None,
    limit: int | None = 100,
) -> Generator[Call[Any], Any, list[AuditEntry]]:
    """Return who changed what, or tried to, the newest first; everything if `limit` is None."""
    wanted = given(owner=owner, key=key, action=action, object=object)
    if since is not None:
        wanted["since"] = since.astimezone().isoformat()

    def page(after: str | None, size: int) -> Call[Page[AuditEntry]]:
        params = wanted | {"limit": size, "after": after}
        return call("GET", "/audit", reads_page(AuditEntry), params=params)

    return pages(page, limit)


def live() -> Call[Health]:
    """Return whether the service responds."""
    return call("GET", "/health/live", reads(Health))


def ready() -> Call[Readiness]:
    """Return whether the service can do its work, with what its operator should know."""
    return call("GET", "/health/ready", reads(Readiness))


def service_metrics() -> Call[str]:
    """Return the metrics of the service in Prometheus' text format."""
    return call("GET", "/metrics", lambda response: response.text)
