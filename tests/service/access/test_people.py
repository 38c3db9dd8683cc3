"""Owners, roles and models of keys, over HTTP."""

from tests.conftest import LINE
from tests.service.access.people import TABLE, People

ROWS = {"model": "line", "inputs": [[1.0]]}


def test_what_one_makes_is_ones_own(people: People) -> None:
    assert people.get("ben", f"/jobs/{people.job}")["owner"] == "anna"
    assert people.get("ben", f"/datasets/{people.dataset}")["owner"] == "anna"
    assert people.get("ben", "/models/line")["owner"] == "anna"
    assert [m["owner"] for m in people.get("ben", "/models")["data"]] == ["anna"]
    job = people.ask("ben", "POST", "/jobs", json=LINE | {"name": "bens"}).json()
    assert job["owner"] == "ben"

    def listed(path: str) -> list[str]:
        return [one["owner"] for one in people.get("vera", path)["data"]]

    assert listed("/jobs") == ["ben", "anna", "anna"]
    assert listed("/jobs?owner=ben") == ["ben"]
    assert listed("/jobs?owner=nobody") == []
    assert listed("/datasets?owner=anna") == ["anna"]
    assert listed("/models?owner=ben") == []
    assert listed("/models?owner=anna") == ["anna"]


def test_the_same_file_of_two_owners_makes_two_data_sets(people: People) -> None:
    first = people.ask("ben", "POST", "/datasets?name=table", content=TABLE)
    again = people.ask("ben", "POST", "/datasets?name=table", content=TABLE)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"] != people.dataset
    assert people.ask("anna", "DELETE", f"/datasets/{people.dataset}").status_code == 204
    assert people.get("ben", f"/datasets/{first.json()['id']}/preview")["rows"][0] == [1, 2]


def test_idempotency_keys_of_two_owners_are_different(people: People) -> None:
    key = {"Idempotency-Key": "same"}
    body = LINE | {"name": "a"}
    annas = people.ask("anna", "POST", "/jobs", json=body, headers=dict(key)).json()["id"]
    bens = people.ask("ben", "POST", "/jobs", json=LINE | {"name": "b"}, headers=dict(key))
    again = people.ask("anna", "POST", "/jobs", json=body, headers=dict(key))
    assert bens.status_code == 202
    assert again.json()["id"] == annas != bens.json()["id"]


def test_nobody_trains_a_version_of_anothers_model(people: People) -> None:
    for name in ("line", "waiting"):  # one is trained, the other is not yet
        refused = people.ask("ben", "POST", "/jobs", json=LINE | {"name": name})
        assert refused.status_code == 409
        [error] = refused.json()["errors"]
        assert error["loc"] == ["body", "name"]
        assert "choose another name" in error["msg"]
    assert people.ask("anna", "POST", "/jobs", json=LINE).status_code == 202
    assert people.ask("root", "POST", "/jobs", json=LINE).status_code == 202


def test_a_job_whose_name_went_to_another_is_not_retried(people: People) -> None:
    path = f"/jobs/{people.job}"
    assert people.ask("anna", "POST", f"{path}/cancel").status_code == 202
    assert people.ask("ben", "POST", "/jobs", json=LINE | {"name": "waiting"}).status_code == 202
    assert people.ask("anna", "POST", f"{path}/retry").status_code == 409


def test_what_a_revoked_owner_leaves_is_for_admins(people: People) -> None:
    people.store.revoke("anna")
    assert people.ask("anna", "GET", "/me").status_code == 401
    path = f"/jobs/{people.job}"
    assert people.get("ben", path)["owner"] == "anna"
    refused = people.ask("ben", "DELETE", path)
    assert (refused.status_code, "anna" in refused.json()["detail"]) == (403, True)
    assert people.ask("root", "DELETE", path).status_code == 204


def test_a_key_for_some_models_is_for_no_others(people: People) -> None:
    key = {"name": "app", "role": "predictor", "models": ["li?e", "mnist*"]}
    narrow = {"name": "other", "role": "predictor", "models": ["mnist*"]}
    for body in (key, narrow):
        made = people.ask("root", "POST", "/keys", json=body)
        assert made.status_code == 201
        people.keys[body["name"]] = made.json()["secret"]
    infer = {"inputs": [{"name": "inputs", "shape": [1, 1], "datatype": "FP32", "data": [1.0]}]}
    for model in ("line", "line@1"):
        assert people.ask("app", "POST", "/predict", json=ROWS | {"model": model}).is_success
        assert people.ask("app", "POST", f"/v2/models/{model}/infer", json=infer).is_success
        for path, body in (
            ("/predict", ROWS | {"model": model}),
            (f"/v2/models/{model}/infer", infer),
        ):
            refused = people.ask("other", "POST", path, json=body)
            assert (refused.status_code, "mnist*" in refused.text) == (403, True)
    # The answer is the same where there is no such model.
    assert people.ask("other", "GET", "/v2/models/line").text == (
        people.ask("other", "GET", "/v2/models/none").text
    )
    assert people.ask("other", "POST", "/v2/repository/index", json={}).json() == []
    lines = b'{"x": 1.0}\n'
    ndjson = {"Content-Type": "application/x-ndjson"}
    for who, status in (("app", 200), ("other", 403)):
        path = "/predict?model=line"
        answer = people.ask(who, "POST", path, content=lines, headers=dict(ndjson))
        assert answer.status_code == status


def test_a_key_for_some_models_trains_no_others(people: People) -> None:
    """Jobs train the next version of a model, which its predictions then come from."""
    key = {"name": "tuner", "owner": "anna", "models": ["mnist*"]}
    people.keys["tuner"] = people.ask("root", "POST", "/keys", json=key).json()["secret"]
    refused = people.ask("tuner", "POST", "/jobs", json=LINE)
    assert (refused.status_code, "mnist*" in refused.text) == (403, True)
    assert people.ask("tuner", "POST", "/jobs", json=LINE | {"name": "mnist-2"}).is_success
    assert people.ask("tuner", "POST", f"/jobs/{people.job}/cancel").status_code == 202
    assert people.ask("tuner", "POST", f"/jobs/{people.job}/retry").status_code == 403


def test_members_may_see_only_their_own(private: People) -> None:
    for path in ("/jobs", "/datasets", "/models", "/jobs?owner=anna"):
        assert private.get("ben", path)["data"] == []
        assert private.get("anna", path)["data"] != []
        assert private.get("root", path)["data"] != []
    for path in (f"/jobs?after={private.job}", f"/datasets?after={private.dataset}"):
        # The id of another's object says no more than one that never was.
        answer = private.ask("ben", "GET", path)
        assert (answer.status_code, answer.json()["data"]) == (200, [])
        assert private.ask("anna", "GET", path).status_code == 200
    job = LINE | {"name": "own", "dataset": {"kind": "upload", "id": private.dataset}}
    refused = private.ask("ben", "POST", "/jobs", json=job)
    assert (refused.status_code, "there is no data set" in refused.text) == (422, True)
    described = private.ask("ben", "POST", "/models/describe", json={"dataset": job["dataset"]})
    assert described.status_code == 422
    for who, status in (("ben", 404), ("shop", 404), ("anna", 200), ("root", 200)):
        assert private.ask(who, "POST", "/predict", json=ROWS).status_code == status
    assert private.get("ben", "/v2/models/stats")["model_stats"] == []


def test_me_says_who_one_is(people: People) -> None:
    me = people.get("anna", "/me")
    assert (me["owner"], me["role"], me["key"], me["keys"]) == ("anna", "member", "anna", True)


def test_a_stranger_learns_only_whether_the_service_is_ready(people: People) -> None:
    assert people.get(None, "/health/ready") == {"status": "ok", "warnings": []}
