"""Changes of keys that the process which made them did not tell of."""

import asyncio
from datetime import UTC, datetime

import pytest
from sqlalchemy import update

from service.access import upkeep
from service.access.authenticator import Authenticator
from service.access.bearers import BearerIndex
from service.access.caller import Role
from service.access.key_store import KeyStore
from service.access.schemas import KeyRequest
from service.errors import Unauthorized
from service.settings import Settings
from service.storage.database import Database
from service.storage.shared_version import SharedVersion
from service.storage.tables import KeyRow


def test_a_revocation_that_was_not_told_of_counts_after_a_while(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = SharedVersion(settings.keys_version_file)
    keys = KeyStore(database, version)
    secret = keys.add(KeyRequest(name="root", role=Role.ADMIN)).secret
    scope = {"method": "GET", "headers": [(b"authorization", f"Bearer {secret}".encode())]}
    monkeypatch.setattr(upkeep, "SECONDS", 0.0)

    async def run() -> None:
        index = BearerIndex(database, version, sees_all=True)
        authenticator = Authenticator(index, open_without_keys=True)
        caller = await authenticator.caller(scope)
        assert caller is not None
        assert caller.owner == "root"
        with database.write() as session:  # and then the process was killed
            session.execute(update(KeyRow).values(revoked_at=datetime.now(UTC)))
        assert await authenticator.caller(scope) is caller
        before = version.current()
        task = asyncio.create_task(upkeep.keep_up(authenticator, keys))
        while version.current() == before:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(Unauthorized):
            await authenticator.caller(scope)

    asyncio.run(run())
