"""Settings: a value that cannot work is refused in one line that names the variable and says what to write."""

from datetime import date, time
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smarttext_pipelines.core.errors import SettingsError
from smarttext_pipelines.core.redact import scrub
from smarttext_pipelines.database.connect import parse_url
from smarttext_pipelines.settings import Settings, load_settings, variable_of

FREE = {
    "archive_url", "lake_url", "lake_spark_url", "data_dir", "alert_rules", "failure_codes", "plans",
    "slack_bot_token", "slack_channel", "twilio_account_sid", "twilio_auth_token", "pagerduty_routing_key",
    "sentry_environment", "database_url", "dagster_database_url",
}  # fmt: skip
"""Settings whose text has no form, or whose form is judged where it is used (each with a test of its own)."""

NONSENSE = "not what it should be"


def _fault(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> str:
    with monkeypatch.context() as patch:
        patch.setenv(variable, value)
        with pytest.raises(SettingsError) as refused:
            load_settings()
    return str(refused.value)


@pytest.mark.parametrize("field", sorted(set(Settings.model_fields) - FREE))
def test_a_wrong_value_of_any_setting_is_refused_in_one_line(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variable = variable_of(field)
    said = _fault(monkeypatch, variable, NONSENSE)
    assert variable in said
    assert "\n" not in said
    assert NONSENSE not in said or field == "reporting_timezone"
    assert "Value error" not in said
    assert said == scrub(said), "its advice would be scrubbed"


def test_what_has_no_form_is_really_text() -> None:
    kinds = (int, bool, date, time)
    for field in FREE:
        annotation = Settings.model_fields[field].annotation
        assert not {annotation, *get_args(annotation)} & set(kinds), field


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SMARTTEXT_ALERT_PHONES", "12"),
        ("SMARTTEXT_ALERT_PHONES", "+15551234567,anonymous"),
        ("SMARTTEXT_ALERT_PHONES", "555-123-4567"),
        ("SMARTTEXT_DIGEST_EMAILS", "team@"),
        ("SMARTTEXT_DIGEST_EMAILS", "a@example.com;b@example.com"),
        ("SMARTTEXT_SMTP_FROM", "SmartText"),
        ("SMARTTEXT_SMTP_URL", "smtp.example.com:587"),
        ("SMARTTEXT_HEARTBEAT_URL", "hc-ping.example.com/ping"),
        ("SMARTTEXT_HEARTBEAT_URL", "https:///nowhere"),
        ("SMARTTEXT_ALERT_WEBHOOK_URL", "http://host:port/x"),
        ("SMARTTEXT_UI_URL", "localhost:3000"),
        ("SLACK_WEBHOOK_URL", "hooks"),
        ("SENTRY_DSN", "https://example.com/1"),
        ("SENTRY_DSN", "https://key@example.com/"),
        ("TWILIO_PHONE_NUMBER", "my number"),
    ],
)
def test_addresses_that_are_none_are_refused(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = _fault(monkeypatch, variable, value)
    assert said.startswith(f"{variable}: not ")
    assert value not in said


def test_addresses_that_work_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in (
        ("SMARTTEXT_ALERT_PHONES", "+1 (555) 123-4567, whatsapp:+15551234568"),
        ("SMARTTEXT_SHARED_SENDERS", "+15550100001,12345"),
        ("SMARTTEXT_DIGEST_EMAILS", "first.last+tag@mail.example.com, b@localhost"),
        ("SMARTTEXT_SMTP_URL", "smtps://user:p%40ss@mail.example.com"),
        ("SMARTTEXT_HEARTBEAT_URL", "https://example.com/ping/a-key"),
        ("SMARTTEXT_UI_URL", "http://127.0.0.1:3000"),
        ("SENTRY_DSN", "https://0123456789abcdef@o1.ingest.example.io/42"),
    ):
        monkeypatch.setenv(variable, value)
    found = load_settings()
    assert [phone.get_secret_value() for phone in found.alert_phones] == ["+15551234567", "whatsapp:+15551234568"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("SMARTTEXT_DATABSE_URL", "SMARTTEXT_DATABASE_URL"),
        ("SMARTTEXT_DB_URL", "SMARTTEXT_DATABASE_URL"),
        ("SMARTTEXT_DATABASE_URI", "SMARTTEXT_DATABASE_URL"),
        ("SMARTTEXT_TIMEZONE", "SMARTTEXT_REPORTING_TIMEZONE"),
        ("SMARTTEXT_RETENTION_DAY", "SMARTTEXT_RETENTION_DAYS"),
        ("SMARTTEXT_DATADIR", "SMARTTEXT_DATA_DIR"),
    ],
)
def test_a_misspelt_variable_is_refused_with_the_one_it_was_taken_for(
    written: str, meant: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert _fault(monkeypatch, written, "x") == f"{written} is no setting; did you mean {meant}?"
    (tmp_path / ".env").write_text(f"{written}=x\n")
    with pytest.raises(SettingsError, match=meant):
        load_settings()


def test_variables_of_the_application_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SMARTTEXT_GREETING", "SMARTTEXT_SERVICE_HOST", "SMARTTEXT_PORT_8080_TCP", "SMARTTEXT_JWT_SECRET"):
        monkeypatch.setenv(name, "x")
    load_settings()


@given(password=st.text(st.sampled_from("abcXYZ019@/#:?&%"), min_size=12, max_size=20))
def test_no_part_of_a_raw_password_is_shown(password: str) -> None:
    url = f"postgresql://user:{password}@db.example.com:5432/name"
    try:
        shown = str(parse_url(url).set(password="hidden"))  # noqa: S106
    except SettingsError as error:
        shown = str(error)
    secrets = Settings(_env_file=None, database_url=url).known_secrets()
    assert password not in shown
    assert password not in scrub(f"cannot use {url} with {password}", secrets)
