"""``smarttext alerts``: what it prints and refuses; and that what leaves a process holds no number and no secret."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from smarttext_pipelines.alerting.rules.rules_file import load_rules
from smarttext_pipelines_tests.alerts import MINUTE, OWN_NUMBER, World, business_id
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.fakes.pagerduty import FakePagerDuty
from smarttext_pipelines_tests.fakes.server import serving


@pytest.fixture
def alerts(monkeypatch: pytest.MonkeyPatch, smarttext: Callable[..., tuple[int, str, str]]):
    """Run ``smarttext alerts …``."""
    monkeypatch.setenv("COLUMNS", "250")
    return partial(smarttext, "alerts")


@pytest.fixture
def failing(database: Database, alerts) -> World:
    """A world in which a sender is not registered since the first evaluation."""
    world = World(database, now=datetime.now(UTC))
    world.businesses(2)
    assert alerts("evaluate")[:2] == (0, "nothing to notify\n")
    world.send(2, ago=MINUTE, status="failed", error_code="30034", message_sid="", error_message="to +15558880001")
    return world


def test_an_incident_from_its_first_notice_to_its_acknowledgement(failing: World, alerts) -> None:
    assert alerts("evaluate")[:2] == (0, "enqueued: 1 firing\n")
    code, said, _ = alerts("deliver")
    assert code == 0
    assert "🔴 Sender +155577700001: 2 texts in the last 6 hours were refused because the sender" in said
    assert said.endswith("1 sent; the outbox is empty\n")
    assert "INC-" in (listed := alerts("list")[1])
    assert "sms_failure_rate: not applicable (not applicable: no delivery reports)" in listed
    number = str(failing.incidents("id")[0][0])
    assert "sender is not registered" in alerts("show", f"INC-{number}")[1]
    assert "is acknowledged by Ann" in alerts("ack", number, "--by", "Ann")[1]
    assert "critical firing" in listed
    assert " 2 of 2 " in listed
    told = alerts("ack", number, "--by", "Bob")[1]
    assert "acknowledged by Bob instead of Ann; the next notice comes when it is over" in told
    why = alerts("why", number)[1]
    assert "firing" in why
    assert "acknowledged by Bob" in why
    assert "555888" not in listed + why + said
    failing.run("UPDATE monitoring.incidents SET state = 'resolved', resolved_at = '2026-01-02 03:04Z'")
    assert "resolved at 2026-01-02 03:04 UTC (None), began" in alerts("show", number)[1]


def test_explain_shows_the_rows_of_an_incident_as_many_as_asked_for_and_as_json(
    failing: World, alerts, smarttext: Callable[..., tuple[int, str, str]]
) -> None:
    alerts("evaluate")
    number = str(failing.incidents("id")[0][0])
    code, said, _ = smarttext("explain", "--incident", number, "--rows", "1")
    assert code == 0
    assert "2 rows were counted; --rows 2 shows all of them" in said
    code, said, _ = smarttext("explain", f"INC-{number}", "--json")
    assert code == 0
    assert len(json.loads(said)["rows"]) == 2


def test_a_scope_is_silenced_by_name_or_number_and_one_that_no_incident_has_is_refused(failing: World, alerts) -> None:
    alerts("evaluate")
    (scope,) = failing.incidents("scope")[0]
    for given, kept in (
        (f"sender:{OWN_NUMBER}0001", scope),
        ("business:hartley plumbing", f"business:{business_id(1)}"),
        ("channel:slack", "channel:slack"),
    ):
        code, _, _ = alerts("silence", "--scope", given, "--for", "2h", "--by", "Ann", "--reason", "known")
        assert code == 0
        assert failing.database.rows("SELECT scope FROM monitoring.silences ORDER BY id")[-1]["scope"] == kept
    for given in ("sender:+15550009999", "run:typo", "check:nosuch", "rules:x", "heartbeat:x", "channel:pigeon"):
        code, _, errors = alerts("silence", "--scope", given, "--for", "2h", "--by", "Ann", "--reason", "known")
        assert code == 2, given
        assert ("one of platform" if given.startswith("channel") else "`smarttext alerts list --all`") in errors


def test_the_list_is_in_order_of_severity_and_a_sender_is_the_number_that_it_is(
    failing: World, alerts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMARTTEXT_SHARED_SENDERS", "+15557779999")
    failing.send(1, ago=MINUTE, status="failed", error_code="98765")
    alerts("evaluate")
    failing.send(1, ago=MINUTE, status="failed", error_code="30034", message_sid="", sender="+15557779999")
    alerts("evaluate")
    listed = alerts("list")[1]
    rows = [line for line in listed.splitlines() if "INC-" in line]
    assert [word for row in rows for word in ("critical", "info") if word in row] == ["critical", "critical", "info"]
    assert f"sender {OWN_NUMBER}0001" in listed
    assert "sender +15557779999" in listed
    number = next(row.split("INC-")[1].split()[0] for row in rows if "+15557779999" in row)
    assert "sender +15557779999" in alerts("show", number)[1]
    given = ("--scope", "sender:+15557779999", "--for", "2h", "--by", "Ann", "--reason", "known")
    assert alerts("silence", *given)[0] == 0


def test_an_evaluation_with_a_rule_in_error_ends_with_one_and_names_it(failing: World, alerts) -> None:
    failing.run("ALTER VIEW monitoring.sms_events RENAME COLUMN error_code TO away")
    code, _, errors = alerts("evaluate")
    assert code == 1
    assert "sms_failure_rate cannot be evaluated: " in errors
    failing.run("ALTER VIEW monitoring.sms_events RENAME COLUMN away TO error_code")
    assert alerts("evaluate")[0] == 0


def test_what_a_terminal_delivers_is_in_the_log_of_every_instance(
    failing: World, alerts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = [tmp_path / "laptop", tmp_path / "server"]
    for folder in logs:
        monkeypatch.setenv("SMARTTEXT_DATA_DIR", str(folder))
        assert alerts("evaluate")[0] == 0
    failing.send(1, ago=MINUTE, status="failed", error_code="30002", message_sid="")
    assert alerts("evaluate")[0] == 0
    for folder in logs:
        monkeypatch.setenv("SMARTTEXT_DATA_DIR", str(folder))
        assert " sent" in alerts("deliver")[1]
    for folder in logs:
        log = (folder / "alerts.log").read_text()
        assert log.count("refused because of the Twilio account") == 1, folder


def test_a_silence_has_an_author_a_reason_and_an_end(failing: World, alerts) -> None:
    code, said, _ = alerts(
        "silence", "--rule", "registration_errors", "--for", "2h", "--by", "Ann", "--reason", "known"
    )
    assert (code, said[:15]) == (0, "silence 1 until")
    assert alerts("evaluate")[1] == "nothing to notify\n"
    number = str(failing.incidents("id")[0][0])
    assert "suppressed now by: silence 1" in alerts("why", number)[1]
    listed = " ".join(alerts("silences")[1].split())
    assert "1 registration_errors all Ann known" in listed
    assert "silence 1 is over" in alerts("unsilence", "1")[1]
    assert alerts("silences")[1] == "nothing is silenced\n"
    assert "known" in alerts("silences", "--all")[1]
    scope = failing.incidents("scope")[0][0]
    assert alerts("silence", "--scope", scope, "--for", "2h", "--by", "Ann", "--reason", "known")[0] == 0


def test_mistakes_are_one_line_and_exit_code_two(alerts, tmp_path: Path) -> None:
    for arguments, words in (
        (("show", "999"), "there is no incident INC-999"),
        (("ack", "x", "--by", "Ann"), "no incident"),
        (("show", "²"), "no incident"),
        (("show", "9" * 30), "no incident"),
        (("ack", "1", "--by", ""), "--by is empty"),
        (("silence", "--for", "soon", "--by", "Ann", "--reason", "x"), "no duration"),
        (("silence", "--for", "9999999d", "--by", "Ann", "--reason", "x"), "longer than 366d"),
        (("silence", "--rule", "nosuch", "--for", "1h", "--by", "Ann", "--reason", "x"), "there are sms_failure_rate"),
        (("silence", "--scope", "nosuch", "--for", "1h", "--by", "Ann", "--reason", "x"), "one of platform, group"),
        (
            ("silence", "--scope", "business:1", "--for", "1h", "--by", "Ann", "--reason", "x"),
            "no id or name of a business",
        ),
        (("unsilence", "7"), "no silence 7"),
        (("backtest", "--from", "2026-01-01", "--to", "2026-01-01", "--every", "9" * 14 + "d"), "longer than 366d"),
        (("validate", "/nonexistent.yaml"), "/nonexistent.yaml cannot be read: No such file or directory; name a file"),
        (("test", "slack"), "not configured here; there is log"),
        (("backtest", "--from", "2026-01-02", "--to", "2026-01-01"), "before it starts"),
    ):
        code, _, errors = alerts(*arguments)
        assert code == 2, arguments
        assert words in errors
        assert len(errors.strip().splitlines()) == 1
    wrong = tmp_path / "rules.yaml"
    wrong.write_text("rules:\n  a:\n    metric: sms_failure_rate\n    treshold: 5\n")
    code, _, errors = alerts("validate", str(wrong))
    assert code == 2
    assert "line 4: unknown key 'treshold' in rule 'a'; did you mean 'threshold'?" in errors
    assert alerts("validate")[1] == f"alert_rules.yaml (shipped): {len(load_rules(None))} rules, no mistake\n"


def test_a_backtest_counts_what_would_have_been_told(failing: World, alerts) -> None:
    today = datetime.now(UTC).date().isoformat()
    code, said, _ = alerts("backtest", "--from", today, "--to", today, "--every", "6h")
    assert code == 0
    assert "notice" in said


def test_a_test_message_goes_out_over_the_channel(alerts, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Test: this is what an alert looks like" in alerts("test", "log")[1]
    with serving(FakePagerDuty()) as fake:
        monkeypatch.setenv("SMARTTEXT_ALERT_WEBHOOK_URL", fake.url)
        assert alerts("test", "webhook")[:2] == (0, "webhook to webhook: sent\n")
        assert fake.bodies[0]["alerts"][0]["labels"]["alertname"] == "test"
