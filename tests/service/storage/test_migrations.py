"""Migrations from the first schema to the current one."""

import json
import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select, text

from service.errors import DatabaseUnusable
from service.jobs.store import JobStore
from service.storage import sqlite_copy
from service.storage.database import Database, migrations
from service.storage.tables import DatasetRow, JobRow, Table
from tests.conftest import LINE, REPOSITORY
from tests.service.conftest import submitted

VERSIONS = REPOSITORY / "migrations" / "versions"
HEAD = max(path.name[:4] for path in VERSIONS.glob("0*.py"))
SPEC = str(LINE).replace("'", '"')


def test_migrating_again_changes_nothing(jobs: JobStore, database: Database) -> None:
    job_id = submitted(jobs)
    database.migrate()
    assert jobs.fetch(job_id).status == "queued"


def test_migrations_match_the_orm(database: Database) -> None:
    with database.read() as session:
        context = MigrationContext.configure(session.connection())
        assert compare_metadata(context, Table.metadata) == []


def test_jobs_of_the_first_schema_keep_their_history_and_models(tmp_path: object) -> None:
    database = Database(f"sqlite:///{tmp_path}/old.db")
    with database.write() as session:
        command.upgrade(migrations(session.connection()), "0001")
        moment = "2026-11-23 12:00:00.000000"
        for statement in (
            f"INSERT INTO jobs VALUES (1, 'job_a', 'line', '{SPEC}', 'succeeded', 1, 0, 'cpu', 1, "
            f"10, 10, '{{}}', 1, NULL, '{moment}', '{moment}', '{moment}', '{moment}')",
            f"INSERT INTO metrics VALUES (7, 'job_a', 'epoch', 1, 10, '{{\"a\": 1}}', '{moment}')",
            f"INSERT INTO model_versions VALUES (1, 'line', 1, 'job_a', 'd', '{{}}', '{moment}')",
        ):
            session.connection().exec_driver_sql(statement)
    database.migrate()
    jobs = JobStore(database)
    job = jobs.fetch("job_a")
    assert (job.status, job.options["max_attempts"]) == ("succeeded", 3)
    [metric] = jobs.metrics("job_a", "epoch", 10, 0).data
    assert (metric.id, metric.step, metric.values) == (7, 10, {"a": 1})
    jobs.delete("job_a")
    with database.read() as session:
        assert session.scalar(text("SELECT count(*) FROM model_versions")) == 1
    database.close()


def test_wishes_become_requested_actions_and_planes_become_channels(tmp_path: object) -> None:
    database = Database(f"sqlite:///{tmp_path}/old.db")
    moment = "2026-11-23 12:00:00.000000"
    form = {"height": 4, "width": 5, "planes": 3}
    spec = json.loads(SPEC) | {"resolved": {"view": {"form": form, "classes": ["planes"]}}}
    schema = form | {"kind": "images", "rows": 1, "classes": [{"name": "planes", "count": 1}]}
    with database.write() as session:
        command.upgrade(migrations(session.connection()), "0005")
        for statement, values in (
            (
                "INSERT INTO jobs (id, name, spec, options, rank, request_sha256, status, wish, "
                "wish_at, attempt, crashes, engine, epoch, step, training_step, metrics, "
                "created_at) VALUES ('job_a', 'line', :spec, '{}', 0, '', 'running', 'pause', "
                ":moment, 1, 0, 'resident+by-hand+graph', 0, 0, 0, '{}', :moment)",
                {"spec": json.dumps(spec), "moment": moment},
            ),
            (
                "INSERT INTO attempts (job_id, attempt, trainer, started_at, heartbeat_at) "
                "VALUES ('job_a', 1, 'a', :moment, :moment)",
                {"moment": moment},
            ),
            (
                "INSERT INTO events (job_id, kind, data, created_at) "
                "VALUES ('job_a', 'status', '{}', :moment)",
                {"moment": moment},
            ),
            (
                "INSERT INTO datasets (id, name, sha256, content, bytes, options, schema, "
                "created_at) VALUES ('ds_a', 'd', '', '', 1, '{}', :schema, :moment)",
                {"schema": json.dumps(schema), "moment": moment},
            ),
        ):
            session.execute(text(statement), values)
    database.migrate()
    with database.read() as session:
        job = session.scalars(select(JobRow)).one()
        assert (job.requested_action, job.engine) == ("pause", "resident+manual+graph")
        assert job.requested_at == datetime(2026, 11, 23, 12, tzinfo=UTC)
        renamed = {"height": 4, "width": 5, "channels": 3}
        assert job.spec["resolved"]["view"] == {"form": renamed, "classes": ["planes"]}
        assert session.scalars(select(DatasetRow.schema)).one() == (
            renamed | {key: schema[key] for key in ("kind", "rows", "classes")}
        )
        # Rows that refer to the job are kept.
        assert session.scalar(text("SELECT count(*) FROM attempts")) == 1
        assert session.scalar(text("SELECT count(*) FROM events")) == 1
        context = MigrationContext.configure(session.connection())
        assert compare_metadata(context, Table.metadata) == []
    database.close()


def test_priorities_of_earlier_jobs_hold_among_all(tmp_path: object) -> None:
    database = Database(f"sqlite:///{tmp_path}/old.db")
    moment = "2026-11-23 12:00:00.000000"
    with database.write() as session:
        command.upgrade(migrations(session.connection()), "0011")
        for name, rank in (("job_low", 3), ("job_high", -7)):
            session.execute(
                text(
                    "INSERT INTO jobs (id, name, spec, options, rank, request_sha256, status, "
                    "attempt, crashes, epoch, step, training_step, metrics, warnings, created_at) "
                    "VALUES (:name, 'line', :spec, '{}', :rank, '', 'queued', 0, 0, 0, 0, 0, "
                    "'{}', '[]', :moment)"
                ),
                {"name": name, "rank": rank, "spec": SPEC, "moment": moment},
            )
    database.migrate()
    with database.read() as session:
        rows = session.scalars(select(JobRow).order_by(JobRow.seq)).all()
        assert [(row.standing, row.role, row.waits_for) for row in rows] == [
            (3, "admin", 0),
            (-7, "admin", 0),
        ]
    with database.write() as session:
        command.downgrade(migrations(session.connection()), "0011")
    database.migrate()
    with database.read() as session:
        context = MigrationContext.configure(session.connection())
        assert compare_metadata(context, Table.metadata) == []
    database.close()


def test_default_targets_become_lists_and_return(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/old.db")
    insert = text(
        "INSERT INTO datasets (id, name, target, sha256, content, bytes, options, schema, "
        "created_at) VALUES (:id, 'd', :target, '', '', 1, '{}', '{}', :moment)"
    )
    with database.write() as session:
        command.upgrade(migrations(session.connection()), "0010")
        for number, target in enumerate(['["a"]', "Größe", None]):
            row = {"id": f"ds_{number}", "target": target, "moment": "2026-11-23 12:00:00.000000"}
            session.execute(insert, row)
    database.migrate()
    with database.write() as session:
        rows = session.scalars(select(DatasetRow).order_by(DatasetRow.seq)).all()
        assert [row.target for row in rows] == ['["a"]', "Größe", None]
        rows[2].target = ["a", "b"]
        session.flush()
        query = select(DatasetRow.id).where(DatasetRow.target == ["a", "b"])
        assert session.scalars(query).all() == ["ds_2"]
    with database.write() as session:
        command.downgrade(migrations(session.connection()), "0010")
        stored = session.execute(text("SELECT target FROM datasets ORDER BY seq")).scalars().all()
        assert stored == ['["a"]', "Größe", None]
    database.close()


def test_database_is_copied_before_migration(tmp_path: Path) -> None:
    for number in range(5):
        copy = tmp_path / f"old.db.before-000{number}"
        copy.touch()
        os.utime(copy, (number, number))
    database = Database(f"sqlite:///{tmp_path}/old.db")
    with database.write() as session:
        command.upgrade(migrations(session.connection()), "0006")
    moment = "2026-11-23 12:00:00.000000"
    with database.write() as session:
        session.execute(
            text("INSERT INTO unloaded_models (name, unloaded_at) VALUES ('a', :moment)"),
            {"moment": moment},
        )
    database.migrate()
    database.migrate()
    database.close()
    copies = sorted(path.name for path in tmp_path.glob("old.db.before-*"))
    assert copies == ["old.db.before-0003", "old.db.before-0004", f"old.db.before-{HEAD}"]
    with sqlite3.connect(tmp_path / copies[-1]) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0006",)
        assert connection.execute("SELECT name FROM unloaded_models").fetchall() == [("a",)]
    connection.close()


def test_new_database_is_not_copied(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/new.db")
    database.migrate()
    database.close()
    assert list(tmp_path.glob("*before*")) == []


def test_failed_copy_prevents_migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(f"sqlite:///{tmp_path}/old.db")
    with database.write() as session:
        command.upgrade(migrations(session.connection()), "0006")

    def full(source: Path, target: Path) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(sqlite_copy, "copy", full)
    message = rf"before-{HEAD} before migrating it: no space left"
    with pytest.raises(DatabaseUnusable, match=message):
        database.migrate()
    with database.read() as session:
        assert session.scalar(text("SELECT version_num FROM alembic_version")) == "0006"
    database.close()
