"""The page on which a browser signs in, without any script."""

from base64 import b64encode
from hashlib import sha256
from html import escape
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from service.access.guard import SIGN_IN
from service.errors import Problem, TooManyRequests, Unauthorized
from service.routes.access import begin_session
from service.routes.dependencies import AppComponents

router = APIRouter(include_in_schema=False)

HOME = "/docs"
"""Page that follows where the link to this one names none."""
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 24rem; margin: 15vh auto; padding: 0 1rem; }
label, input, button { display: block; width: 100%; box-sizing: border-box; font: inherit; }
input, button { margin: .5rem 0 1rem; padding: .5rem; }
[role=alert] { color: #b00020; }
@media (prefers-color-scheme: dark) { body { background: #111; color: #eee; }
  [role=alert] { color: #ff8a80; } }
"""
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Sign in to epochd</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>epochd</h1>
{problem}
<form method="post" action="{path}">
<input type="hidden" name="next" value="{target}">
<label for="key">Key or sign-in code</label>
<input id="key" name="key" type="password" autocomplete="current-password" maxlength="200"
 required autofocus>
<button>Sign in</button>
</form>
</main>
</body>
</html>
"""
STYLE_HASH = b64encode(sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
Target = Annotated[str, Query(alias="next", max_length=2000)]


@router.get(SIGN_IN)
async def page(target: Target = HOME) -> HTMLResponse:
    """Return the page."""
    return _page(target)


@router.post(SIGN_IN)
async def sign_in(
    request: Request,
    components: AppComponents,
    key: Annotated[str, Form(max_length=200)],
    target: Annotated[str, Form(alias="next", max_length=2000)] = HOME,
) -> Response:
    """Sign in, and go to the page that was asked for."""
    response = RedirectResponse(_local(target), 303, {"Cache-Control": "no-store"})
    try:
        await begin_session(request, response, key, components)
    except (Unauthorized, TooManyRequests) as problem:
        return _page(target, problem)
    return response


def _page(target: str, problem: Problem | None = None) -> HTMLResponse:
    said = f'<p role="alert">{escape(problem.detail)}</p>' if problem else ""
    content = PAGE.format(path=SIGN_IN, style=STYLE, problem=said, target=escape(_local(target)))
    return HTMLResponse(content, problem.status if problem else 200, HEADERS)


def _local(target: str) -> str:
    """Return the path of a page of this service: a link from elsewhere may name another's."""
    is_local = target.startswith("/") and not target.startswith(("//", "/\\"))
    return target if is_local and target.isprintable() else HOME
