"""Keys on a server, with and without the fast path: every change counts at once."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from service.access.caller import Role
from service.access.key_store import KeyStore
from service.access.schemas import KeyRequest
from service.access.wrong_guesses import FREE
from service.settings import Settings
from service.storage.database import Database
from service.storage.shared_version import SharedVersion
from tests.service.server.conftest import Client, Scenario, request, rows

Serve = Callable[[Scenario], None]


@pytest.fixture
def keys(settings: Settings) -> Iterator[KeyStore]:
    """The keys, changed by another process than the server's."""
    settings.data_dir.mkdir(mode=0o700, exist_ok=True)
    database = Database(settings.sqlalchemy_url)
    yield KeyStore(database, SharedVersion(settings.keys_version_file))
    database.close()


async def status(client: Client, secret: str | None, times: int = 1) -> int:
    """Return the status of the last of several predictions with a key."""
    headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
    for _ in range(times):
        answered, _, _ = await client.ask(request(rows(1), **headers))
    return answered


def test_the_first_key_counts_for_the_next_request(serve: Serve, keys: KeyStore) -> None:
    async def scenario(client: Client) -> None:
        assert await status(client, None, 3) == 200
        secret = keys.add(KeyRequest(name="root", role=Role.ADMIN)).secret
        assert await status(client, None) == 401
        assert await status(client, secret, 3) == 200
        rotated = keys.rotate("root").secret
        assert await status(client, secret) == 401
        assert await status(client, rotated, 3) == 200

    serve(scenario)


def test_roles_and_models_of_keys_count(serve: Serve, keys: KeyStore) -> None:
    async def scenario(client: Client) -> None:
        keys.add(KeyRequest(name="root", role=Role.ADMIN))

        def add(name: str, role: Role, models: list[str]) -> str:
            return keys.add(KeyRequest(name=name, role=role, models=models)).secret

        cases = [
            (add("app", Role.PREDICTOR, []), 200),
            (add("lines", Role.PREDICTOR, ["li*"]), 200),
            (add("others", Role.PREDICTOR, ["digits"]), 403),
            (add("viewer", Role.VIEWER, []), 403),
            (add("scraper", Role.SCRAPER, []), 403),
        ]
        for _ in range(3):
            assert [await status(client, secret) for secret, _ in cases] == [s for _, s in cases]
        keys.revoke("app")
        assert await status(client, cases[0][0]) == 401
        assert await status(client, cases[1][0]) == 200

    serve(scenario)


def test_a_key_that_expires_is_refused_from_then_on(
    serve: Serve, keys: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(client: Client) -> None:
        keys.add(KeyRequest(name="root", role=Role.ADMIN))
        secret = keys.add(KeyRequest(name="app", expires_days=1)).secret
        assert await status(client, secret, 3) == 200
        later = datetime.now(UTC) + timedelta(days=1, seconds=1)
        monkeypatch.setattr("service.access.authenticator.time.time", later.timestamp)
        assert await status(client, secret) == 401

    serve(scenario)


def test_wrong_keys_are_slowed_down_and_right_ones_are_not(
    serve: Serve, keys: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    async def scenario(client: Client) -> None:
        secret = keys.add(KeyRequest(name="root", role=Role.ADMIN)).secret

        async def sleep(seconds: float) -> None:
            waits.append(seconds)

        monkeypatch.setattr("service.access.wrong_guesses.sleep", sleep)
        for _ in range(FREE + 3):
            assert await status(client, "epd_wrong") == 401
        assert await status(client, secret) == 200
        assert waits == [0.1, 0.2, 0.4]

    serve(scenario)


def test_the_use_of_a_key_is_recorded(serve: Serve, keys: KeyStore) -> None:
    async def scenario(client: Client) -> None:
        keys.add(KeyRequest(name="root", role=Role.ADMIN))
        secret = keys.add(KeyRequest(name="app", role=Role.PREDICTOR)).secret
        assert await status(client, secret, 3) == 200
        authenticator = client.server.config.app.components.authenticator  # type: ignore[union-attr]
        keys.record_use(*authenticator.take_used())
        before = datetime.now(UTC) - timedelta(minutes=1)
        used = {key.name: key.last_used_at for key in keys.listed()}
        assert used["root"] is None
        assert used["app"] is not None
        assert before < used["app"] <= datetime.now(UTC)

    serve(scenario)
