"""The progress bar, where there is something to show it on."""

import io
import sys

import pytest

from epochd.progress import showing
from epochd.schemas import Event, JobInfo
from tests.epochd.samples import AT, JOB

INFO = JobInfo.model_validate(JOB | {"name": "line [red]"})
EVENTS = [
    Event.model_validate({"id": 1, "created_at": AT, "step": None} | event)
    for event in (
        {"kind": "status", "epoch": None, "data": {"status": "running"}},
        {"kind": "log", "epoch": None, "data": {"message": "hello"}},
        {"kind": "epoch", "epoch": 3, "data": {"loss": 0.123456, "lr": 0.1}},
    )
]


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, screen: io.StringIO, *, wanted: bool = True) -> str:
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with showing(INFO, wanted=wanted) as show:
        for event in EVENTS:
            show(event)
    return screen.getvalue()


def test_a_terminal_shows_epochs_and_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, Screen())
    assert "line [red]" in text
    assert "3/5" in text
    assert "loss 0.1235" in text


def test_a_file_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, io.StringIO()) == ""


def test_nothing_is_shown_unasked_or_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, Screen(), wanted=False) == ""
    monkeypatch.setitem(sys.modules, "rich", None)
    assert shown(monkeypatch, Screen()) == ""


def test_jobs_that_are_waited_for_at_once_share_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm")
    with showing(INFO.model_copy(update={"name": "one"})), showing(INFO):
        pass
    assert "one" in screen.getvalue()
    assert "line [red]" in screen.getvalue()
    assert shown(monkeypatch, Screen()) != ""
