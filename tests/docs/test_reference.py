"""The reference agrees with the code: generated tables, names of fields, kinds and errors."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fastapi.testclient import TestClient

from ml.augmentation import CHANGES
from service.app import create_app
from service.settings import Settings
from tests.docs.pages import DOCS, names, section

REFERENCE = DOCS / "reference"
JOBS, ERRORS = REFERENCE / "jobs.md", REFERENCE / "errors.md"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("docs") / "data", trainers=0)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def schemas(client: TestClient) -> dict[str, Any]:
    schemas: dict[str, Any] = client.get("/openapi.json").json()["components"]["schemas"]
    return schemas


@pytest.mark.parametrize("page", sorted(REFERENCE.glob("*.md")), ids=lambda page: page.name)
def test_generated_tables_are_current(page: Path, generate: ModuleType) -> None:
    text = page.read_text(encoding="utf-8")
    assert generate.filled(text) == text, "run `make docs`"


def test_every_setting_is_in_the_table(generate: ModuleType) -> None:
    table = names(generate.settings())
    assert table == {f"EPOCHD_{name.upper()}" for name in Settings.model_fields}


def test_every_setting_has_a_description() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_every_job_field_is_described(schemas: dict[str, Any]) -> None:
    spec = schemas["TrainingSpec"]["properties"].keys()
    options = schemas["JobOptions"]["properties"].keys()
    assert names(section(JOBS, "Spec")) == spec
    assert names(section(JOBS, "Options")) == options


def test_every_split_field_is_described(schemas: dict[str, Any]) -> None:
    assert names(section(JOBS, "Splits")) == schemas["SplitSpec"]["properties"].keys()


@pytest.mark.parametrize(
    ("heading", "field"),
    [
        ("Models", "model"),
        ("Losses", "loss"),
        ("Optimizers and schedules", "optimizer"),
        ("Optimizers and schedules", "schedule"),
        ("Data sets", "dataset"),
        ("Weight averaging", "average"),
    ],
)
def test_every_kind_is_described(heading: str, field: str, schemas: dict[str, Any]) -> None:
    schema = schemas["TrainingSpec"]["properties"][field]
    kinds = schema.get("anyOf", [schema])[0]["discriminator"]["mapping"].keys()
    assert kinds <= names(section(JOBS, heading))


def test_every_change_of_images_is_described() -> None:
    assert CHANGES.keys() <= names(section(JOBS, "Augmentation"))


def test_every_job_error_is_described(schemas: dict[str, Any]) -> None:
    kinds = schemas["JobError"]["properties"]["kind"]["enum"]
    assert names(section(ERRORS, "Of a job")) == set(kinds)


def test_error_example_matches_the_response(client: TestClient) -> None:
    answer = client.post("/jobs", json={"dataset": {"kind": "mnist"}, "epochs": 0})
    assert answer.headers["content-type"] == "application/problem+json"
    text = ERRORS.read_text(encoding="utf-8")
    for field in ("type", "title", "detail"):
        assert f'"{field}": "{answer.json()[field]}"' in text
    assert f'"status": {answer.status_code}' in text
    assert f'"msg": "{answer.json()["errors"][0]["msg"]}"' in text


def test_job_statuses_match_the_api(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    operations = [operation for path in paths.values() for operation in path.values()]
    answered = {status for operation in operations for status in operation["responses"]}
    assert {s for s in answered if s >= "4"} <= names(section(ERRORS, "Of a request"))
