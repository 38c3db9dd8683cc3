"""Who may use which route: one row for each.

A route that is not listed is refused to all but admins.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from starlette.routing import compile_path

from service.access.caller import Role

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


@dataclass(frozen=True)
class Match:
    """The rule for a request, and the object that its path names."""

    rule: Rule
    object_id: str | None = None


READERS = frozenset({Role.ADMIN, Role.MEMBER, Role.VIEWER})
WORKERS = frozenset({Role.ADMIN, Role.MEMBER})
PREDICTORS = WORKERS | {Role.PREDICTOR}
SERVED = READERS | {Role.PREDICTOR}
ADMINS = frozenset({Role.ADMIN})

PUBLIC = Rule(is_public=True)
KEY = Rule()
READ = Rule(READERS)
WORK = Rule(WORKERS)
PREDICT = Rule(PREDICTORS)
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
    "GET /openapi.json": KEY,
    "GET /docs": KEY,
    "GET /docs/oauth2-redirect": KEY,
    "GET /redoc": KEY,
    "GET /metrics": SCRAPE,
    "GET /jobs": READ,
    "POST /jobs": WORK,
    "GET /jobs/{job_id}": read("job"),
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
    "POST /models/describe": WORK,
    "GET /models/{name}": read("model"),
    "GET /models/{name}/versions/{version}": read("model"),
    "DELETE /models/{name}/versions/{version}": change("model"),
    "GET /models/{name}/versions/{version}/evaluation": read("model"),
    "POST /models/{name}/versions/{version}/evaluate": Rule(WORKERS, "model"),
    "GET /models/{name}/aliases": read("model"),
    "GET /models/{name}/aliases/{alias}": read("model"),
    "PUT /models/{name}/aliases/{alias}": change("model"),
    "DELETE /models/{name}/aliases/{alias}": change("model"),
    "POST /expressions": WORK,
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
    "POST /v2/repository/index": SEE_SERVED,
    "POST /v2/repository/models/{name}/load": change("model"),
    "POST /v2/repository/models/{name}/unload": change("model"),
}


def match(method: str, path: str) -> Match | None:
    """Return the rule for a request, or None if no route is listed for it."""
    if (rule := RULES.get(f"{method} {path}")) is not None and "{" not in path:
        return Match(rule)
    for pattern, convertors, of_methods in _COMPILED:
        if method in of_methods and (found := pattern.match(path)):
            rule = of_methods[method]
            if rule.kind is None:
                return Match(rule)
            name = PARAMETERS[rule.kind]
            return Match(rule, str(convertors[name].convert(found.group(name))))
    return None


def _compiled() -> list[tuple[re.Pattern[str], dict[str, Any], dict[str, Rule]]]:
    """Return the patterns of paths with parameters, with the rules by method."""
    by_path: dict[str, dict[str, Rule]] = {}
    for line, rule in RULES.items():
        method, path = line.split(" ")
        if "{" in path:
            by_path.setdefault(path, {})[method] = rule
    return [(*compile_path(path)[::2], rules) for path, rules in by_path.items()]


_COMPILED = _compiled()
