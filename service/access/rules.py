"""The roles that may use each route: one row for each.

A route that is not listed is refused to all but admins.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from starlette.routing import compile_path

from service.access.caller import PREDICTING, Role

Kind = Literal["job", "dataset", "model"]
PARAMETERS: Mapping[Kind, str] = {"job": "job_id", "dataset": "dataset_id", "model": "name"}
"""Name of the path parameter that names an object of a kind."""


@dataclass(frozen=True)
class Rule:
    """Roles that may use a route, and the object that its path names."""

    roles: frozenset[Role] = frozenset(Role)
    kind: Kind | None = None
    changes: bool = False
    """Whether only the owner of the object and admins may use the route."""
    is_public: bool = False
    """Whether nobody needs a key."""
    only_computes: bool = False
    """Whether the route changes nothing, although its method may: the audit log leaves it out."""


@dataclass(frozen=True)
class Match:
    """The rule for a request, and what its path names."""

    route: str
    """Its line in the table, such as `POST /jobs/{job_id}/cancel`."""
    rule: Rule
    parameters: Mapping[str, str]

    @property
    def object_id(self) -> str | None:
        """The object whose owner matters."""
        kind = self.rule.kind
        return None if kind is None else self.parameters.get(PARAMETERS[kind])


READERS = frozenset({Role.ADMIN, Role.MEMBER, Role.VIEWER})
WORKERS = frozenset({Role.ADMIN, Role.MEMBER})
SERVED = READERS | {Role.PREDICTOR}
ADMINS = frozenset({Role.ADMIN})

PUBLIC = Rule(is_public=True)
KEY = Rule()
READ = Rule(READERS)
WORK = Rule(WORKERS)
COMPUTE = Rule(WORKERS, only_computes=True)
PREDICT = Rule(PREDICTING, only_computes=True)
SEE_SERVED = Rule(SERVED)
SCRAPE = Rule(ADMINS | {Role.SCRAPER})
"""Metrics name the models of all owners."""
ADMIN = Rule(ADMINS)


def read(kind: Kind) -> Rule:
    """Return the rule for reading an object."""
    return Rule(READERS, kind)


def change(kind: Kind) -> Rule:
    """Return the rule for changing or deleting an object."""
    return Rule(WORKERS, kind, changes=True)


RULES: Mapping[str, Rule] = {
    "GET /health/live": PUBLIC,
    "GET /health/ready": PUBLIC,
    "GET /v2/health/live": PUBLIC,
    "GET /v2/health/ready": PUBLIC,
    "GET /sign-in": PUBLIC,
    "POST /sign-in": PUBLIC,
    "POST /session": PUBLIC,
    "DELETE /session": KEY,
    "GET /sessions": KEY,
    "DELETE /sessions/{session_id}": KEY,
    "GET /me": KEY,
    "GET /keys": ADMIN,
    "POST /keys": ADMIN,
    "GET /keys/{key}": ADMIN,
    "DELETE /keys/{key}": ADMIN,
    "POST /keys/{key}/rotate": ADMIN,
    "POST /classes": ADMIN,
    "GET /audit": ADMIN,
    "GET /openapi.json": KEY,
    "GET /docs": KEY,
    "GET /docs/oauth2-redirect": KEY,
    "GET /redoc": KEY,
    "GET /metrics": SCRAPE,
    "GET /jobs": READ,
    "POST /jobs": WORK,
    "GET /jobs/{job_id}": read("job"),
    "PATCH /jobs/{job_id}": change("job"),
    "DELETE /jobs/{job_id}": change("job"),
    "GET /jobs/{job_id}/metrics": read("job"),
    "GET /jobs/{job_id}/logs": read("job"),
    "GET /jobs/{job_id}/attempts": read("job"),
    "GET /jobs/{job_id}/events": read("job"),
    "GET /jobs/{job_id}/charts": read("job"),
    "GET /jobs/{job_id}/charts/{chart}.{form}": read("job"),
    "POST /jobs/{job_id}/cancel": change("job"),
    "POST /jobs/{job_id}/pause": change("job"),
    "POST /jobs/{job_id}/resume": change("job"),
    "POST /jobs/{job_id}/retry": change("job"),
    "GET /queue": READ,
    "GET /devices": READ,
    "GET /usage": READ,
    "GET /datasets": READ,
    "POST /datasets": WORK,
    "GET /datasets/{dataset_id}": read("dataset"),
    "DELETE /datasets/{dataset_id}": change("dataset"),
    "GET /datasets/{dataset_id}/preview": read("dataset"),
    "GET /datasets/{dataset_id}/batches": read("dataset"),
    "GET /models": READ,
    "POST /models/describe": COMPUTE,
    "GET /models/{name}": read("model"),
    "DELETE /models/{name}": change("model"),
    "GET /models/{name}/versions": read("model"),
    "GET /models/{name}/versions/{version}": read("model"),
    "DELETE /models/{name}/versions/{version}": change("model"),
    "GET /models/{name}/versions/{version}/evaluation": read("model"),
    "POST /models/{name}/versions/{version}/evaluate": Rule(WORKERS, "model"),
    "GET /models/{name}/aliases": read("model"),
    "GET /models/{name}/aliases/{alias}": read("model"),
    "PUT /models/{name}/aliases/{alias}": change("model"),
    "DELETE /models/{name}/aliases/{alias}": change("model"),
    "POST /expressions": COMPUTE,
    "POST /predict": PREDICT,
    "GET /v2": SEE_SERVED,
    "GET /v2/models/stats": READ,
    "GET /v2/models/{name}": SEE_SERVED,
    "GET /v2/models/{name}/versions/{version}": SEE_SERVED,
    "GET /v2/models/{name}/ready": SEE_SERVED,
    "GET /v2/models/{name}/versions/{version}/ready": SEE_SERVED,
    "GET /v2/models/{name}/config": SEE_SERVED,
    "GET /v2/models/{name}/versions/{version}/config": SEE_SERVED,
    "GET /v2/models/{name}/stats": SEE_SERVED,
    "GET /v2/models/{name}/versions/{version}/stats": SEE_SERVED,
    "POST /v2/models/{name}/infer": PREDICT,
    "POST /v2/models/{name}/versions/{version}/infer": PREDICT,
    "POST /v2/repository/index": Rule(SERVED, only_computes=True),
    "POST /v2/repository/models/{name}/load": change("model"),
    "POST /v2/repository/models/{name}/unload": change("model"),
}


def public_paths() -> set[str]:
    """Return the paths to which anybody may send requests."""
    return {line.partition(" ")[2] for line, rule in RULES.items() if rule.is_public}


def match(method: str, path: str) -> Match | None:
    """Return the rule for a request, or None if no route is listed for it."""
    line = f"{method} {path}"
    if (rule := RULES.get(line)) is not None and "{" not in path:
        return Match(line, rule, {})
    for pattern, of_methods in _COMPILED:
        if method in of_methods and (found := pattern.match(path)):
            line = of_methods[method]
            return Match(line, RULES[line], found.groupdict())
    return None


def _compiled() -> list[tuple[re.Pattern[str], dict[str, str]]]:
    """Return the patterns of paths with parameters, with the lines of the table by method."""
    by_path: dict[str, dict[str, str]] = {}
    for line in RULES:
        method, path = line.split(" ")
        if "{" in path:
            by_path.setdefault(path, {})[method] = line
    return [(compile_path(path)[0], lines) for path, lines in by_path.items()]


_COMPILED = _compiled()
