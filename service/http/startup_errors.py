"""Known reasons for which the service cannot start, told without a traceback."""

import sys

from starlette.types import Message, Send

from service.errors import DatabaseUnusable


def in_one_line(send: Send) -> Send:
    """Return `send` for the lifespan of an application. The framework would have the server log the
    traceback of an error of its start; of one that names its reason, the server logs the reason."""

    async def send_reason(message: Message) -> None:
        error = sys.exc_info()[1]
        if message["type"] == "lifespan.startup.failed" and isinstance(error, DatabaseUnusable):
            message["message"] = str(error)
        await send(message)

    return send_reason
