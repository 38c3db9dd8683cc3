"""A service with a key for each role, and what two of its members made."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from httpx import Response

from ml.artifacts import Manifest
from service.access.caller import Role
from service.access.key_store import KeyStore
from service.access.schemas import KeyRequest
from service.app import create_app
from service.jobs.attempts import AttemptStore
from service.settings import Settings
from service.storage.database import Database
from service.storage.shared_version import SharedVersion
from tests.conftest import LINE
from tests.service.conftest import claimed

ROLES = {
    "root": Role.ADMIN,
    "anna": Role.MEMBER,
    "ben": Role.MEMBER,
    "vera": Role.VIEWER,
    "shop": Role.PREDICTOR,
    "prom": Role.SCRAPER,
}
TABLE = b"a,b\n1,2\n2,4\n3,6\n4,8\n5,10\n6,12\n"


@dataclass(frozen=True)
class People:
    """The service, the keys by name, and what Anna made: a waiting job, one that has ended with the
    model `line`, and a data set."""

    client: TestClient
    keys: dict[str, str]
    store: KeyStore
    job: str
    ended: str
    dataset: str

    def ask(self, who: str | None, method: str, path: str, **options: Any) -> Response:
        """Send a request with somebody's key, or without any."""
        headers = options.pop("headers", {})
        if who is not None:
            headers |= {"Authorization": f"Bearer {self.keys[who]}"}
        return self.client.request(method, path, headers=headers, **options)

    def get(self, who: str | None, path: str) -> Any:
        response = self.ask(who, "GET", path)
        assert response.status_code == 200, response.text
        return response.json()


@contextmanager
def started(
    settings: Settings, migrated: Path, manifest: Manifest, model: Path
) -> Iterator[People]:
    """Start the service; `model` is the directory of a saved model."""
    settings.data_dir.mkdir(mode=0o700, exist_ok=True)
    shutil.copy(migrated, settings.data_dir)
    database = Database(settings.sqlalchemy_url)
    store = KeyStore(database, SharedVersion(settings.keys_version_file))
    keys = {n: store.add(KeyRequest(name=n, role=role)).secret for n, role in ROLES.items()}
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        people = People(client, keys, store, "", "", "")
        trained = people.ask("anna", "POST", "/jobs", json=LINE).json()["id"]
        attempts = AttemptStore(database, settings)
        claim = claimed(attempts)
        assert claim.job_id == trained
        shutil.copytree(model, settings.models_dir / "line-1")
        attempts.succeed(claim, manifest, "line-1")
        waiting = people.ask("anna", "POST", "/jobs", json=LINE | {"name": "waiting"}).json()["id"]
        uploaded = people.ask("anna", "POST", "/datasets?name=table", content=TABLE).json()["id"]
        yield People(client, keys, store, waiting, trained, uploaded)
    database.close()
