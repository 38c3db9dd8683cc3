"""Logging: one line per record, as text or JSON, with the id of the request or the job."""

import logging
import logging.config
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

import orjson

from service.settings import LogFormat

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""Id of the current request, added to its log lines."""
KEY = re.compile(r"(epd_)[\w-]+")
"""A key, as `service.access.secrets` makes them."""

_job_id = ""


@contextmanager
def about_job(job_id: str) -> Iterator[None]:
    """Add a job's id to every log line of this process, of all threads, within the context: a
    trainer runs one attempt at a time."""
    global _job_id
    _job_id = job_id
    try:
        yield
    finally:
        _job_id = ""


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        subject = REQUEST_ID.get() or _job_id
        record.subject = f" [{subject}]" if subject else ""
        return without_keys(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802, of the base class
        # Parts of a message may come from a client, to which the terminal does not belong.
        record.message = printable(record.message.rstrip())
        return super().formatMessage(record)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        if request := REQUEST_ID.get():
            line["request_id"] = request
        if _job_id:
            line["job_id"] = _job_id
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return without_keys(orjson.dumps(line).decode())


def without_keys(line: str) -> str:
    """Return a line with `***` for keys, which somebody may send in the place of a name."""
    return KEY.sub(r"\1***", line)


def printable(text: str) -> str:
    """Return `text` with line breaks, escapes and other control characters as escape sequences."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def configuration(form: LogFormat) -> dict[str, object]:
    """Return the configuration of `logging`, also used for uvicorn."""
    text = "%(asctime)s %(levelname)s %(name)s:%(subject)s %(message)s"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "text": {"()": _Text, "fmt": text},
            "json": {"()": _Json},
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": form}},
        "root": {"level": "INFO", "handlers": ["stderr"]},
        # `service.http.access_log` logs the requests.
        "loggers": {"uvicorn.access": {"level": "WARNING"}, "httpx": {"level": "WARNING"}},
    }


def configure(form: LogFormat) -> None:
    """Configure logging in this process."""
    logging.config.dictConfig(configuration(form))
