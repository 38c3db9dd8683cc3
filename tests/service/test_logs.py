"""Log lines carry the id of their request or job, as text and as JSON."""

import json
import logging
import logging.config
import threading
from collections.abc import Iterator

import pytest

from service import logs
from service.access.secrets import new_secret
from service.logs import REQUEST_ID
from service.settings import LogFormat

logger = logging.getLogger("service.drawings")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def logged(form: LogFormat, request: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the line of a warning with the traceback of an error."""
    logs.configure(form)
    token = REQUEST_ID.set(request)
    try:
        logger.warning("%d lines", 3, exc_info=ValueError("too few") if form == "json" else None)
    finally:
        REQUEST_ID.reset(token)
    return capsys.readouterr().err.strip()


def test_text_lines(capsys: pytest.CaptureFixture[str]) -> None:
    line = logged("text", "mine-7", capsys)
    assert line.endswith(" WARNING service.drawings: [mine-7] 3 lines")
    assert logged("text", "", capsys).endswith(" WARNING service.drawings: 3 lines")


def test_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    line = json.loads(logged("json", "mine-7", capsys))
    assert (line["level"], line["logger"]) == ("warning", "service.drawings")
    assert (line["message"], line["request_id"]) == ("3 lines", "mine-7")
    assert "ValueError: too few" in line["traceback"]
    assert "request_id" not in json.loads(logged("json", "", capsys))


@pytest.mark.parametrize("form", ["text", "json"])
def test_keys_are_in_no_line(form: LogFormat, capsys: pytest.CaptureFixture[str]) -> None:
    key = new_secret()
    logs.configure(form)
    logger.warning("DELETE /keys/%s?a=1 404", key, exc_info=ValueError(f"no {key!r}"))
    lines = capsys.readouterr().err
    assert key[:12] not in lines
    assert ("DELETE /keys/epd_***?a=1 404" in lines, "no 'epd_***'" in lines) == (True, True)


def test_every_thread_of_a_trainer_logs_the_job(capsys: pytest.CaptureFixture[str]) -> None:
    with logs.about_job("job_7"):
        thread = threading.Thread(target=logger.warning, args=("half",))
        logs.configure("json")
        thread.start()
        thread.join()
        line = json.loads(capsys.readouterr().err)
        assert (line["message"], line["job_id"]) == ("half", "job_7")
        assert logged("text", "", capsys).endswith(" service.drawings: [job_7] 3 lines")
    assert logged("text", "", capsys).endswith(" service.drawings: 3 lines")
