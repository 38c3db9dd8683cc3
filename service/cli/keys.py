"""Commands for keys and classes."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from ml.strict import sentence
from service.access.audit_log import AuditLog
from service.access.audit_trail import of_command
from service.access.caller import Role
from service.access.key_store import KeyStore
from service.access.schemas import ClassRequest, Key, KeyRequest, NewKey
from service.cli.common import DataDir, fail, settings_of
from service.errors import DatabaseUnusable, Problem
from service.maintenance.snapshot import DATABASE
from service.storage.data_dir import DataDirError, check_writable
from service.storage.database import Database
from service.storage.shared_version import SharedVersion

keys = typer.Typer(help="Add, list, rotate and revoke keys.", no_args_is_help=True)
classes = typer.Typer(help="Give the pupils of a class their sign-in codes.", no_args_is_help=True)

DAYS = re.compile(r"(\d+(?:\.\d+)?)([hdwy]?)")
DAYS_OF_UNIT = {"h": 1 / 24, "": 1.0, "d": 1.0, "w": 7.0, "y": 365.0}
COLUMNS = ("name", "role", "owner", "models", "last used", "expires")

Audit = Callable[[str, str, str], None]
"""Function that records a command, and the kind and name of its object, in the audit log."""
Expires = Annotated[
    str | None, typer.Option(metavar="90d", help="Time until it expires: 12h, 90d, 8w or 1y.")
]


@keys.command("add")
def add_key(
    name: Annotated[str, typer.Argument(help="Name of the key: of a person, or an application.")],
    role: Annotated[Role, typer.Option(help="What the key is for.")] = Role.MEMBER,
    owner: Annotated[
        str | None, typer.Option(help="Owner of what the bearer makes; default: NAME.")
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(metavar="'mnist*'", help="Only for models of such names; may be repeated."),
    ] = None,
    expires: Expires = None,
    data_dir: DataDir = None,
) -> None:
    """Add a key, and print its secret, which is not shown again."""
    with _opened(data_dir, may_be_new=True) as (store, audit):
        request = KeyRequest(
            name=name, role=role, owner=owner, models=models or [], expires_days=_days(expires)
        )
        added = store.add(request)
        audit("keys add", "key", added.name)
    typer.echo(added.secret)


@keys.command("list")
def list_keys(
    revoked: Annotated[bool, typer.Option("--revoked", help="Also those.")] = False,
    data_dir: DataDir = None,
) -> None:
    """List the keys."""
    with _opened(data_dir) as (store, _):
        rows = [COLUMNS, *(_row(key) for key in store.listed(revoked=revoked))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


@keys.command("rotate")
def rotate_key(
    name: Annotated[str, typer.Argument(help="Name or id of the key.")], data_dir: DataDir = None
) -> None:
    """Give a key another secret, and print it. The earlier one is refused at once."""
    with _opened(data_dir) as (store, audit):
        rotated = store.rotate(name)
        audit("keys rotate", "key", rotated.name)
    typer.echo(rotated.secret)


@keys.command("revoke")
def revoke_key(
    name: Annotated[str, typer.Argument(help="Name or id of the key.")], data_dir: DataDir = None
) -> None:
    """Revoke a key at once. What its owner made stays, and is left to admins."""
    with _opened(data_dir) as (store, audit):
        key = store.revoke(name, keep_an_admin=False)
        audit("keys revoke", "key", key.name)
    typer.echo(f"revoked {key.name} ({key.id})", err=True)


@classes.command("create")
def create_class(
    name: Annotated[str, typer.Argument(help="Name of the class.")],
    pupils: Annotated[int, typer.Option(help="Number of pupils.")],
    expires: Expires = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="http://gpu-box:8000", help="Address of the service, printed on the sheet."
        ),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Add a key for each pupil, and print the sheet with their sign-in codes."""
    with _opened(data_dir) as (store, audit):
        request = ClassRequest(name=name, pupils=pupils, expires_days=_days(expires))
        added = store.add_class(request.name, request.keys())
        audit("class create", "class", request.name)
    for key in added:
        typer.echo(_slip(key, address))


@classes.command("revoke")
def revoke_class(
    name: Annotated[str, typer.Argument(help="Name of the class.")], data_dir: DataDir = None
) -> None:
    """Revoke the keys of all pupils of a class."""
    with _opened(data_dir) as (store, audit):
        found = store.listed(class_name=name)
        if not found:
            fail(f"there is no class {name!r}")
        for key in found:
            store.revoke(key.id)
        audit("class revoke", "class", name)
    typer.echo(f"revoked {len(found)} keys", err=True)


def _slip(key: NewKey, address: str | None) -> str:
    """Return the part of the sheet for one pupil, to be cut off."""
    where = f"{address.rstrip('/')}/sign-in" if address else "the sign-in page"
    lines = (f"{key.name}", f"    code:  {key.secret}", f"    at:    {where}", "-" * 40)
    return "\n".join(lines)


def _row(key: Key) -> tuple[str, ...]:
    state = "revoked" if key.revoked_at else _day(key.expires_at, "never")
    return (
        key.name,
        key.role.value,
        key.owner,
        ",".join(key.models) or "all",
        _day(key.last_used_at, "never"),
        state,
    )


def _day(moment: datetime | None, missing: str) -> str:
    return missing if moment is None else f"{moment:%F %H:%M}"


def _days(text: str | None) -> float | None:
    if text is None:
        return None
    match = DAYS.fullmatch(text)
    if match is None:
        fail(f"--expires: {text!r} is not a time such as 12h, 90d, 8w or 1y")
    return float(match[1]) * DAYS_OF_UNIT[match[2]]


@contextmanager
def _opened(data_dir: Path | None, *, may_be_new: bool = False) -> Iterator[tuple[KeyStore, Audit]]:
    """Open the keys of a data directory and its audit log, whether the service runs or not."""
    try:
        settings = settings_of(data_dir)
        if may_be_new:
            settings.data_dir.mkdir(parents=True, exist_ok=True)
        elif settings.database_url is None and not (settings.data_dir / DATABASE).exists():
            fail(f"there is no database of epochd in {settings.data_dir.resolve()}")
        check_writable(settings.data_dir)
        database = Database(settings.sqlalchemy_url)
        try:
            database.migrate()
            log = AuditLog.of(settings)

            def audit(command: str, kind: str, name: str) -> None:
                log.append(of_command(command, kind, name))

            yield KeyStore(database, SharedVersion(settings.keys_version_file)), audit
        finally:
            database.close()
    except ValidationError as error:
        fail("\n".join(f"{'.'.join(map(str, e['loc']))}: {sentence(e)}" for e in error.errors()))
    except (DataDirError, DatabaseUnusable, OSError, Problem) as error:
        fail(getattr(error, "detail", None) or str(error))
    except SQLAlchemyError as error:
        fail(f"failed: {getattr(error, 'orig', None) or error}")
