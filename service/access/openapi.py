"""The ways to sign in, in the OpenAPI description."""

from typing import Any

from service.access.authenticator import COOKIE
from service.access.rules import ADMIN, RULES
from service.access.secrets import PREFIX

Document = dict[str, Any]

SCHEMES: Document = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": f"{PREFIX}…",
        "description": "A key. A service without any key needs none.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "The session of a browser, which `POST /session` or the page `/sign-in` "
        "begins. It counts only for pages of the service itself.",
    },
}


def with_security(document: Document) -> Document:
    """Add to an OpenAPI description that all operations but the public ones need a key or a
    session; return it."""
    document["components"]["securitySchemes"] = SCHEMES
    document["security"] = [{scheme: []} for scheme in SCHEMES]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if RULES.get(f"{method.upper()} {path}", ADMIN).is_public:
                operation["security"] = []
    return document
