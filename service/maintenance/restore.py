"""A backup, put into an empty data directory."""

import shutil
from pathlib import Path

from ml import integrity
from ml.errors import Damaged
from ml.files import sync, sync_tree
from service.maintenance.backup import DESCRIPTION, Description
from service.maintenance.snapshot import DATABASE, Refused, database_file
from service.settings import Settings

PARTIAL = "restore.partial"
NOT_CONTENT = {"lock", PARTIAL}
"""Entries of a data directory that hold none of its data."""
ORDER = ("models", "datasets", "checkpoints", "instance", "data.warning")
"""Entries of a backup that go before the database: until that is there, nothing is deleted."""


def describe(backup: Path) -> Description:
    """Return the origin of a backup.

    Raises:
        Refused: the directory is not a backup.
        Damaged: the description is not as it was written.
    """
    if not (backup / DESCRIPTION).exists():
        raise Refused(f"{backup} is not a backup: it has no {DESCRIPTION}")
    return integrity.read_document(backup, DESCRIPTION, Description)


def restore(settings: Settings, backup: Path) -> Description:
    """Put a backup into the data directory of the settings. The caller holds its lock.

    Raises:
        Refused: the data directory or the database exists, or the backup is damaged.
        OSError: the restore failed; the data directory has no database then.
    """
    data_dir, database = settings.data_dir.resolve(), database_file(settings)
    there = sorted({path.name for path in data_dir.iterdir()} - NOT_CONTENT)
    if there:
        raise Refused(
            f"{data_dir} is not empty (it holds {', '.join(there[:5])}); set EPOCHD_DATA_DIR to a "
            "new directory, or move this one away first"
        )
    if database.exists():
        raise Refused(f"the database {database} exists; move it away first")
    partial = data_dir / PARTIAL
    shutil.rmtree(partial, ignore_errors=True)
    try:
        description = describe(backup)
        shutil.copytree(backup, partial)
        integrity.check(partial)
    except Damaged as damaged:
        shutil.rmtree(partial, ignore_errors=True)
        raise Refused(f"the backup is damaged: {damaged}; use another one") from damaged
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync_tree(partial)
    for name in ORDER:
        if (partial / name).exists():
            (partial / name).rename(data_dir / name)
    database.parent.mkdir(parents=True, exist_ok=True)
    if database.parent == data_dir:
        (partial / DATABASE).rename(database)
    else:
        beside = database.with_name(f".{database.name}.partial")
        shutil.copy2(partial / DATABASE, beside)
        sync(beside)
        beside.rename(database)
    shutil.rmtree(partial)
    sync(database.parent)
    return description
