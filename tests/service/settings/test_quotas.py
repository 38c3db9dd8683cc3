"""Quotas as the operator writes them."""

import pytest
from pydantic import ValidationError

from service.settings import Settings
from service.settings.quotas import Limits, Quotas, parse_quotas

WRITTEN = (
    "member: waiting=50 running=2 stored_mb=5000 device_seconds_per_day=7200 "
    "predictions_per_second=50; anna: running=4, waiting=none"
)


def test_limits_of_an_owner_win_over_those_of_its_role() -> None:
    quotas = Quotas(parse_quotas(WRITTEN))
    member = quotas.of("member", "ben")
    assert member == Limits(
        waiting=50,
        running=2,
        stored_mb=5000,
        device_seconds_per_day=7200,
        predictions_per_second=50,
    )
    assert quotas.of("member", "anna") == member.model_copy(update={"running": 4, "waiting": None})
    assert quotas.of("admin", "anna") == Limits(running=4)
    assert quotas.of("admin", "root") == quotas.of("admin", None) == Limits()
    assert quotas.sets("stored_mb")
    assert not Quotas(parse_quotas("anna: running=4")).sets("stored_mb")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("waiting=50", "names no role or owner; write, for example, member: waiting=50"),
        ("member:", "member: has no limits"),
        ("member: wating=50", "member: 'wating' is no limit; did you mean waiting?"),
        ("member: x=1", "member: 'x' is no limit; choose waiting, running, stored_mb"),
        ("member: waiting=many", "waiting=many must be a whole number of at least 0, or none"),
        ("member: running=1.5", "running=1.5 must be a whole number"),
        ("member: stored_mb=-1", "stored_mb=-1 must be a number of at least 0"),
        ("member: stored_mb=nan", "stored_mb=nan must be a number of at least 0"),
        ("member: waiting=1 waiting=2", "member: waiting is given twice"),
        ("member: waiting=1; member: running=1", "'member' has two lines"),
        ("member: predictions_per_second=0", "would refuse almost every prediction"),
        ("x: predictions_per_second=1e-320", "predictions_per_second=1e-320 would refuse almost"),
    ],
)
def test_mistakes_are_named(text: str, message: str) -> None:
    with pytest.raises(ValidationError) as error:
        Settings(quotas=text)  # type: ignore[arg-type]
    assert message in str(error.value)
    assert "quotas" in str(error.value)


def test_settings_with_quotas_survive_the_way_to_another_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EPOCHD_QUOTAS", WRITTEN)
    settings = Settings()
    copy = Settings.model_validate_json(settings.model_dump_json())
    assert copy.quotas == settings.quotas == parse_quotas(WRITTEN)
    assert Quotas(copy.quotas).of("member", "anna").waiting is None
