"""Settings: the paths that other packages use, lists, and misspelt names."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from ml.datasets.uploads import UPLOADS
from service.settings import Settings, given_variables, unknown_variables


def test_uploads_dir_is_within_the_datasets_dir(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert settings.uploads_dir == settings.datasets_dir / UPLOADS


def test_a_variable_that_is_no_setting_is_named_with_the_nearest_one() -> None:
    names = ["EPOCHD_TRAINER", "epochd_prot", "EPOCHD_HOST", "EPOCHD_FAULT", "HOME", "EPOCHD_XYZZY"]
    assert list(unknown_variables([*names, *names])) == [
        "EPOCHD_TRAINER is not a setting and is ignored; did you mean EPOCHD_TRAINERS?",
        "EPOCHD_XYZZY is not a setting and is ignored",
        "epochd_prot is not a setting and is ignored; did you mean EPOCHD_PORT?",
    ]


def test_the_variables_of_a_file_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EPOCHD_WEB_WORKER", "2")
    assert "EPOCHD_WEB_WORKER" in given_variables()
    (tmp_path / ".env").write_text("export EPOCHD_TRAINER=3\n# EPOCHD_HOST=1\n")
    assert "EPOCHD_TRAINER" in given_variables()
    assert "EPOCHD_HOST" not in given_variables()


def test_a_password_is_not_shown() -> None:
    url = "postgresql://user:s3cret@host/db"
    assert "s3cret" not in repr(Settings(database_url=url))


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPOCHD_TRUSTED_PROXIES", "10.0.0.7, 10.1.0.0/16,::1,unix")
    monkeypatch.setenv("EPOCHD_CORS_ORIGINS", "https://a.example,http://localhost:3000")
    monkeypatch.setenv("EPOCHD_ALLOWED_HOSTS", "a.example, *.b.example,gpu-box,::1")
    settings = Settings()
    assert settings.trusted_proxies == ("10.0.0.7", "10.1.0.0/16", "::1", "unix")
    assert settings.cors_origins == ("https://a.example", "http://localhost:3000")
    assert settings.allowed_hosts == ("a.example", "*.b.example", "gpu-box", "::1")
    # Web processes get their settings as JSON.
    assert Settings.model_validate_json(settings.model_dump_json()) == settings
    monkeypatch.setenv("EPOCHD_TRUSTED_PROXIES", "")
    assert Settings().trusted_proxies == ()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("TRUSTED_PROXIES", "proxy.example", "does not appear to be an IPv4 or IPv6 network"),
        ("TRUSTED_PROXIES", "10.0.0.1/8", "has host bits set"),
        ("TRUSTED_PROXIES", "unix:/run/a", "or unix for the proxy of a Unix domain socket"),
        ("TRUSTED_PROXIES", "*", "give addresses such as 10.0.0.7"),
        ("CORS_ORIGINS", "a.example", "'a.example' is not an origin such as https://"),
        ("CORS_ORIGINS", "https://a.example/page", "without a path"),
        ("ALLOWED_HOSTS", "https://a.example", "'https://a.example' is not a name such as"),
        ("ALLOWED_HOSTS", "a.example:8000", "without a scheme or a port"),
        ("ALLOWED_HOSTS", "a.*.example", "nor *.example.com"),
    ],
)
def test_wrong_addresses_and_origins_are_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(f"EPOCHD_{name}", value)
    with pytest.raises(ValidationError, match=re.escape(says)):
        Settings()


@pytest.mark.parametrize(
    "name", [name for name, field in Settings.model_fields.items() if field.annotation is float]
)
@pytest.mark.parametrize("value", ["inf", "1e300", "nan", "-1"])
def test_times_that_no_date_can_hold_are_refused(name: str, value: str) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings.model_validate({name: value})
