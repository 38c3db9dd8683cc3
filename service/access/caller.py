"""The sender of a request, and its rights to see and change things."""

from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache

from starlette.types import Scope

from service.errors import Forbidden

SCOPE_KEY = "epochd.caller"


class Role(StrEnum):
    """Purpose of a key."""

    ADMIN = "admin"
    """Everything, including keys and what others own."""
    MEMBER = "member"
    """Reads, predicts, and makes, changes and deletes jobs, data sets and models of its own."""
    VIEWER = "viewer"
    """Reads."""
    PREDICTOR = "predictor"
    """Predicts only: the role of an application."""
    SCRAPER = "scraper"
    """Reads the metrics only."""


PREDICTING = frozenset({Role.ADMIN, Role.MEMBER, Role.PREDICTOR})


@dataclass(frozen=True)
class Caller:
    """The sender of a request."""

    role: Role
    owner: str | None = None
    """Owner of what the request makes; None where no keys are in use."""
    key_id: str | None = None
    key_name: str | None = None
    session_id: str | None = None
    """Session of the browser, if the request came with its cookie."""
    models: tuple[str, ...] = ()
    """Patterns of the names of the models that may be used; empty for all."""
    sees_all: bool = True
    """Whether the caller may see what others own."""
    expires_at: float | None = None
    """Time (`time.time`) at which the key or the session expires."""

    @property
    def is_admin(self) -> bool:
        return self.role is Role.ADMIN

    @cached_property
    def may_predict(self) -> bool:
        """Whether the role allows predictions."""
        return self.role in PREDICTING

    @cached_property
    def is_unrestricted(self) -> bool:
        """Whether the caller may use every model."""
        return not self.models and (self.is_admin or self.sees_all)

    def may_change(self, owner: str | None) -> bool:
        """Return whether the caller may change or delete what `owner` owns. What nobody owns is
        left to admins."""
        return self.is_admin or (self.role is Role.MEMBER and owner == self.owner is not None)

    def may_see(self, owner: str | None) -> bool:
        """Return whether the caller may see what `owner` owns."""
        return self.is_admin or self.sees_all or owner == self.owner

    def is_for(self, model: str) -> bool:
        """Return whether the key is for the model of this name."""
        return not self.models or _matches(model, self.models)

    def check_model(self, name: str) -> None:
        """Check that the key is for the model of this name, whether or not there is one.

        Raises:
            Forbidden: it is for others only.
        """
        if not self.is_for(name):
            raise Forbidden(f"this key is only for models named {' or '.join(self.models)}")


ANYBODY = Caller(Role.ADMIN)
"""The caller of a service without keys, who may do everything."""


def caller_of(scope: Scope) -> Caller:
    """Return the caller of a request that the guard has let in, on a route that is not public."""
    caller: Caller = scope[SCOPE_KEY]
    return caller


@lru_cache(maxsize=4096)
def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
