"""What commands share: the data directory, its settings, and the end of a command that failed."""

from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError

from service.settings import Settings

DataDir = Annotated[Path | None, typer.Option(help="The data directory; default: EPOCHD_DATA_DIR.")]


def settings_with(given: dict[str, Any]) -> Settings:
    """Return the settings with some given on the command line; end the command if one is wrong."""
    try:
        return Settings(**given)
    except ValidationError as error:
        problems = (
            f"EPOCHD_{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()
        )
        fail("\n".join(problems))


def settings_of(data_dir: Path | None) -> Settings:
    """Return the settings for a data directory."""
    return settings_with({} if data_dir is None else {"data_dir": data_dir})


def fail(message: str) -> NoReturn:
    """End the command with a message."""
    typer.echo(message, err=True)
    raise typer.Exit(1)
