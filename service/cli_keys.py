"""The command line's part for keys and classes."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from ml.strict import sentence
from service.access.caller import Role
from service.access.key_store import KeyStore
from service.access.schemas import ClassRequest, Key, KeyRequest, NewKey
from service.errors import DatabaseUnusable, Problem
from service.settings import Settings
from service.storage.data_dir import DataDirError, check_writable
from service.storage.database import Database
from service.storage.shared_version import SharedVersion

keys = typer.Typer(help="Add, list, rotate and revoke keys.", no_args_is_help=True)
classes = typer.Typer(help="Give the pupils of a class their sign-in codes.", no_args_is_help=True)

DAYS = re.compile(r"(\d+(?:\.\d+)?)([hdwy]?)")
DAYS_OF_UNIT = {"h": 1 / 24, "": 1.0, "d": 1.0, "w": 7.0, "y": 365.0}
COLUMNS = ("name", "role", "owner", "models", "last used", "expires")

DataDir = Annotated[Path | None, typer.Option(help="The data directory; default: EPOCHD_DATA_DIR.")]
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
    with _key_store(data_dir) as store:
        request = KeyRequest(
            name=name, role=role, owner=owner, models=models or [], expires_days=_days(expires)
        )
        typer.echo(store.add(request).secret)


@keys.command("list")
def list_keys(
    revoked: Annotated[bool, typer.Option("--revoked", help="Also those.")] = False,
    data_dir: DataDir = None,
) -> None:
    """List the keys."""
    with _key_store(data_dir) as store:
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
    with _key_store(data_dir) as store:
        typer.echo(store.rotate(name).secret)


@keys.command("revoke")
def revoke_key(
    name: Annotated[str, typer.Argument(help="Name or id of the key.")], data_dir: DataDir = None
) -> None:
    """Revoke a key at once. What its owner made stays, and is left to admins."""
    with _key_store(data_dir) as store:
        key = store.revoke(name, keep_an_admin=False)
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
    with _key_store(data_dir) as store:
        request = ClassRequest(name=name, pupils=pupils, expires_days=_days(expires))
        added = store.add_class(request.name, request.keys())
    for key in added:
        typer.echo(_slip(key, address))


@classes.command("revoke")
def revoke_class(
    name: Annotated[str, typer.Argument(help="Name of the class.")], data_dir: DataDir = None
) -> None:
    """Revoke the keys of all pupils of a class."""
    with _key_store(data_dir) as store:
        found = store.listed(class_name=name)
        if not found:
            _fail(f"there is no class {name!r}")
        for key in found:
            store.revoke(key.id)
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
        _fail(f"--expires: {text!r} is not a time such as 12h, 90d, 8w or 1y")
    return float(match[1]) * DAYS_OF_UNIT[match[2]]


@contextmanager
def _key_store(data_dir: Path | None) -> Iterator[KeyStore]:
    """The keys of a data directory, whether the service runs or not."""
    try:
        settings = Settings() if data_dir is None else Settings(data_dir=data_dir)
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        check_writable(settings.data_dir)
        database = Database(settings.sqlalchemy_url)
        try:
            database.migrate()
            yield KeyStore(database, SharedVersion(settings.keys_version_file))
        finally:
            database.close()
    except ValidationError as error:
        _fail("\n".join(f"{'.'.join(map(str, e['loc']))}: {sentence(e)}" for e in error.errors()))
    except (DataDirError, DatabaseUnusable, OSError, Problem) as error:
        _fail(getattr(error, "detail", None) or str(error))
    except SQLAlchemyError as error:
        _fail(f"failed: {getattr(error, 'orig', None) or error}")


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)
