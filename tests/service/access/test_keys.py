"""Keys: added, rotated and revoked, in the store and over HTTP."""

from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, update

from service.access.caller import Role
from service.access.key_store import KeyStore
from service.access.schemas import ClassRequest, KeyRequest
from service.access.secrets import digest, new_code
from service.errors import Conflict, NotFound
from service.storage.database import Database
from service.storage.shared_version import SharedVersion
from service.storage.tables import KeyRow
from tests.service.access.people import People


@pytest.fixture
def keys(database: Database, tmp_path_factory: pytest.TempPathFactory) -> KeyStore:
    return KeyStore(database, SharedVersion(tmp_path_factory.mktemp("v") / "keys.revision"))


def admin(name: str = "root") -> KeyRequest:
    return KeyRequest(name=name, role=Role.ADMIN)


def test_the_first_key_is_an_admins(keys: KeyStore) -> None:
    for add in (
        lambda: keys.add(KeyRequest(name="anna")),
        lambda: keys.add_class("7b", ClassRequest(name="7b", pupils=2).keys()),
    ):
        with pytest.raises(Conflict, match="--role admin"):
            add()
    assert not keys.exist()
    keys.add(admin())
    assert keys.add(KeyRequest(name="anna")).role is Role.MEMBER


def test_secrets_are_stored_as_their_hash_only(keys: KeyStore, database: Database) -> None:
    secret = keys.add(admin()).secret
    assert secret.startswith("epd_")
    assert len(secret) > 40
    with database.read() as session:
        [row] = session.scalars(select(KeyRow))
        assert row.secret_sha256 == digest(secret)
        assert secret not in str(vars(row))


def test_a_name_is_taken_until_its_key_is_revoked(keys: KeyStore) -> None:
    keys.add(admin())
    first = keys.add(KeyRequest(name="anna"))
    with pytest.raises(Conflict, match="'anna'"):
        keys.add(KeyRequest(name="anna"))
    keys.revoke("anna")
    with pytest.raises(NotFound):
        keys.rotate("anna")
    second = keys.add(KeyRequest(name="anna"))
    assert first.secret != second.secret
    assert [key.name for key in keys.listed()] == ["anna", "root"]
    assert [key.name for key in keys.listed(revoked=True)] == ["anna", "anna", "root"]


def test_the_last_admin_stays(keys: KeyStore, database: Database) -> None:
    keys.add(admin())
    keys.add(admin("other"))
    keys.revoke("other")
    with pytest.raises(Conflict, match="last key of an admin"):
        keys.revoke("root")
    keys.add(admin("third"))
    past = datetime.now(UTC) - timedelta(seconds=1)
    with database.write() as session:
        session.execute(update(KeyRow).where(KeyRow.name == "third").values(expires_at=past))
    with pytest.raises(Conflict):
        keys.revoke("root")
    keys.revoke("root", keep_an_admin=False)
    assert keys.exist()


def test_codes_may_be_typed_in_capitals_and_without_hyphens() -> None:
    code = new_code()
    assert len(code) == 14
    for typed in (code.upper(), code.replace("-", ""), code.replace("-", " ")):
        assert digest(typed) == digest(code)
    assert digest("epd_" + code) != digest(code)


def test_a_rotated_key_has_another_secret_at_once(people: People) -> None:
    old = people.keys["anna"]
    people.keys["anna"] = people.ask("root", "POST", "/keys/anna/rotate").json()["secret"]
    assert people.get("anna", "/me")["owner"] == "anna"
    wrong = people.client.get("/me", headers={"Authorization": f"Bearer {old}"})
    assert wrong.status_code == 401


def test_a_key_that_expires_is_refused(people: People) -> None:
    short = {"name": "short", "expires_days": 1e-9}
    people.keys["short"] = people.ask("root", "POST", "/keys", json=short).json()["secret"]
    assert people.ask("short", "GET", "/me").status_code == 401


@pytest.mark.parametrize("given", ["Bearer", "Bearer ", "Bearer epd_x", "Basic YTpi", "", "epd_x"])
def test_anything_else_is_no_key(people: People, given: str) -> None:
    response = people.client.get("/me", headers={"Authorization": given})
    assert response.status_code == 401


def test_two_keys_at_once_are_none(people: People) -> None:
    both = [("Authorization", f"Bearer {people.keys[who]}") for who in ("shop", "root")]
    assert people.client.get("/me", headers=both).status_code == 401


def test_a_class_gets_codes(people: People) -> None:
    response = people.ask("root", "POST", "/classes", json={"name": "7b", "pupils": 3})
    assert response.status_code == 201
    pupils = response.json()["data"]
    assert [pupil["name"] for pupil in pupils] == ["7b-01", "7b-02", "7b-03"]
    people.keys["pupil"] = pupils[1]["secret"].upper()
    me = people.get("pupil", "/me")
    assert (me["owner"], me["role"]) == ("7b-02", "member")
    again = people.ask("root", "POST", "/classes", json={"name": "7b", "pupils": 4})
    assert again.status_code == 409
    assert len(people.get("root", "/keys")["data"]) == 6 + 3  # none of the second class


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "a b"}, "name"),
        ({"name": "a", "role": "king"}, "role"),
        ({"name": "a", "models": [""]}, "models"),
        ({"name": "a", "models": ["mnist", "\x1b[2Jall"]}, "models"),
        ({"name": "a", "models": ["[a-m]*"]}, "models"),
        ({"name": "a", "models": ["a"] * 21}, "models"),
        ({"name": "a", "expires_days": 0}, "expires_days"),
        ({"name": "a", "expires_days": 1e300}, "expires_days"),
        ({"name": "a", "secret": "mine"}, "secret"),
    ],
)
def test_a_wrong_request_is_refused_at_its_field(
    people: People, body: dict[str, object], field: str
) -> None:
    response = people.ask("root", "POST", "/keys", json=body)
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"][:2] == ["body", field]


def test_the_first_key_closes_an_open_service(client: TestClient) -> None:
    assert client.get("/me").json()["keys"] is False
    assert client.get("/jobs").status_code == 200
    refused = client.post("/keys", json={"name": "anna"})
    assert (refused.status_code, "admin" in refused.json()["detail"]) == (409, True)
    secret = client.post("/keys", json={"name": "root", "role": "admin"}).json()["secret"]
    assert client.get("/jobs").status_code == 401
    assert client.get("/jobs", headers={"Authorization": f"Bearer {secret}"}).is_success
