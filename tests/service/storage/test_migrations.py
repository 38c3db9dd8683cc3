"""The schema, from its first version to this one."""

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from service.jobs.store import JobStore
from service.storage.database import Database, migrations
from service.storage.tables import Table
from tests.conftest import LINE
from tests.service.conftest import submitted

SPEC = str(LINE).replace("'", '"')


def test_migrating_again_changes_nothing(jobs: JobStore, database: Database) -> None:
    job_id = submitted(jobs)
    database.migrate()
    assert jobs.fetch(job_id).status == "queued"


def test_the_migrations_make_the_tables_of_the_orm(database: Database) -> None:
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
