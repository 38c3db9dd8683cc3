"""The route of the audit log."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from service.access.audit_reader import AuditQuery
from service.access.schemas import AuditEntry
from service.errors import Unavailable
from service.routes.dependencies import AppComponents
from service.routes.parameters import Limit
from service.schemas import Page

router = APIRouter(tags=["access"])


@router.get("/audit")
def list_actions(
    components: AppComponents,
    limit: Limit = 100,
    after: Annotated[
        str | None,
        Query(pattern=r"^\d{1,9}-\d{1,15}$", description="`next` of the page before."),
    ] = None,
    owner: Annotated[
        str | None, Query(max_length=200, description="Owner of the sender's key.")
    ] = None,
    key: Annotated[
        str | None, Query(max_length=200, description="Name or id of the sender's key.")
    ] = None,
    action: Annotated[
        str | None,
        Query(
            max_length=200,
            description="Action, with `*` for any characters.",
            examples=["*/keys*", "POST /jobs"],
        ),
    ] = None,
    object: Annotated[
        str | None,
        Query(
            max_length=200,
            description="Object; a model's name also finds its versions and aliases.",
        ),
    ] = None,
    since: Annotated[
        AwareDatetime | None,
        Query(
            description="Time of the oldest entry, with its zone.",
            examples=["2026-03-02T09:00:00Z"],
        ),
    ] = None,
) -> Page[AuditEntry]:
    """List who changed what, or tried to, the newest first. A page may have fewer entries than
    `limit`, or none, although others follow: go on while `next` is not null."""
    query = AuditQuery(owner=owner, key=key, action=action, object=object, since=since)
    try:
        return components.audit_reader.page(query, limit, after)
    except OSError as error:
        raise Unavailable(f"the audit log cannot be read: {error.strerror}") from error
