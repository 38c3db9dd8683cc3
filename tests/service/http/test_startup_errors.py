"""A start that fails, as the server is told of it."""

import asyncio

import pytest
from starlette.types import Message

from service.app import create_app
from service.errors import DatabaseUnusable
from service.settings import Settings


def test_known_reason_is_one_line_without_a_traceback(settings: Settings) -> None:
    settings.data_dir.mkdir()
    (settings.data_dir / "epochd.db").write_bytes(b"garbage " * 4096)
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        sent.append(message)

    with pytest.raises(DatabaseUnusable):
        asyncio.run(create_app(settings)({"type": "lifespan", "state": {}}, receive, send))
    [message] = sent
    assert message["type"] == "lifespan.startup.failed"
    assert message["message"].startswith(f"the database {settings.data_dir}/epochd.db is damaged")
    assert "\n" not in message["message"]
