"""Headers that tell browsers to run, frame and guess nothing."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = b"content-security-policy"
NOSNIFF = (b"x-content-type-options", b"nosniff")
NOTHING = (POLICY, b"default-src 'none'; frame-ancestors 'none'")
"""Policy for data: JSON, text, images."""
SVG_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'"
CDN = b"https://cdn.jsdelivr.net"
DOCS = (
    POLICY,
    b"default-src 'none'; script-src 'unsafe-inline' %b; style-src 'unsafe-inline' %b "
    b"https://fonts.googleapis.com; font-src https://fonts.gstatic.com; img-src 'self' data: "
    b"https://fastapi.tiangolo.com https://cdn.redoc.ly; connect-src 'self'; worker-src blob:; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'" % (CDN, CDN),
)
"""Policy for the pages of FastAPI's documentation, whose scripts come from a CDN."""
DOCS_PATHS = ("/docs", "/redoc")
DATA_LINES = b"".join(b"%b: %b\r\n" % header for header in (NOSNIFF, NOTHING))
"""The headers of data, as lines of a response's head."""


class SecurityHeaders:
    """ASGI middleware that adds security headers; a route may set a policy of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message["headers"], NOSNIFF]
                if not any(name == POLICY for name, _ in headers):
                    is_docs = scope["path"].startswith(DOCS_PATHS)
                    headers.append(DOCS if is_docs else NOTHING)
                message["headers"] = headers
            await send(message)

        await self._app(scope, receive, send_with_headers)
