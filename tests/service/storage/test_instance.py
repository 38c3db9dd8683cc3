"""Which database and which data directory belong together."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from service.settings import Settings
from service.storage.database import Database
from service.storage.instance import Instance, findings, read_id
from service.storage.tables import InstanceRow
from tests.service.storage.test_cleanup import dataset, put


@pytest.fixture
def instance(database: Database, settings: Settings) -> Instance:
    settings.data_dir.mkdir()
    return Instance(database, settings)


def ids(database: Database, settings: Settings) -> tuple[str | None, str | None]:
    with database.read() as session:
        return read_id(settings.instance_file), session.scalar(select(InstanceRow.id))


def set_id(database: Database, instance_id: str) -> None:
    with database.write() as session:
        session.add(InstanceRow(id=instance_id, created_at=datetime.now(UTC)))


def test_new_installation_gets_one_id(
    instance: Instance, database: Database, settings: Settings
) -> None:
    assert instance.mismatch() is None
    ours, theirs = ids(database, settings)
    assert ours is not None
    assert ours == theirs
    assert instance.mismatch() is None
    assert ids(database, settings) == (ours, ours)


def test_directory_without_artifacts_takes_the_id_of_its_database(
    instance: Instance, database: Database, settings: Settings
) -> None:
    set_id(database, "theirs")
    settings.instance_file.write_text("another\n")
    assert instance.mismatch() is None
    assert ids(database, settings) == ("theirs", "theirs")


def test_installation_of_an_earlier_version_matches(
    instance: Instance, database: Database, settings: Settings
) -> None:
    put(settings.uploads_dir / "a")
    put(settings.uploads_dir / "b")
    with database.write() as session:
        session.add(dataset("a"))
    assert instance.mismatch() is None
    ours, theirs = ids(database, settings)
    assert ours == theirs is not None


@pytest.mark.parametrize("ours", ["ours", None])
@pytest.mark.parametrize("theirs", ["theirs", None])
@pytest.mark.parametrize("named", [False, True])
def test_other_databases_do_not_match(
    ours: str | None,
    theirs: str | None,
    named: bool,
    instance: Instance,
    database: Database,
    settings: Settings,
) -> None:
    put(settings.uploads_dir / "a")
    put(settings.models_dir / "job_a-1")
    if named:
        with database.write() as session:
            session.add(dataset("a"))
    if ours:
        settings.instance_file.write_text(ours)
    if theirs:
        set_id(database, theirs)
    if named and ours is None:
        assert instance.mismatch() is None
        return
    told = str(instance.mismatch())
    knows = "1 data set" if named else "none"
    assert f"which holds 1 model and 1 data set, of which it knows {knows}" in told
    assert "\n" not in told
    # It stays so when the database comes to know artifacts.
    with database.write() as session:
        session.add(dataset("later"))
    put(settings.uploads_dir / "later")
    assert instance.mismatch() is not None
    assert all(ids(database, settings))
    instance.join()
    assert instance.mismatch() is None


def test_reason_contains_no_password(database: Database, settings: Settings) -> None:
    put(settings.models_dir / "job_a-1")
    url = "postgresql://epochd:secret@localhost/epochd"
    told = str(Instance(database, settings.model_copy(update={"database_url": url})).mismatch())
    assert "localhost" in told
    assert "secret" not in told


def test_readiness_warns_of_the_reason(settings: Settings) -> None:
    settings.data_dir.mkdir()
    assert list(findings(settings.data_warning_file)) == []
    settings.data_warning_file.write_text("another database")
    [finding] = findings(settings.data_warning_file)
    assert (finding.message, finding.blocking) == ("another database", False)
