"""The verdict on the pipeline itself: what is broken is named, with what to do, and green again when it works."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from smarttext_pipelines.cli.main import app
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.health import heartbeat
from smarttext_pipelines.health.doctor import examine, readiness
from smarttext_pipelines.health.probes import table_rows
from smarttext_pipelines.health.verdicts import Heartbeat, Line, State
from smarttext_pipelines.settings import Settings
from smarttext_pipelines_tests.bench.instance import stored_instance
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database
from smarttext_pipelines_tests.events import roll_up_all
from smarttext_pipelines_tests.fakes.server import Reply, serving
from smarttext_pipelines_tests.fakes.server import Server as Fake
from smarttext_pipelines_tests.fakes.slack import FakeSlack
from smarttext_pipelines_tests.legacy import acting_as

NOW = datetime.now(UTC)
YESTERDAY = (NOW - timedelta(days=1)).date()


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    return database.settings(data_dir=tmp_path)


def lines(settings: Settings, **options: Any) -> dict[str, Line]:
    return {line.name: line for line in examine(settings, dagster=False, **options).lines}


def state_of(settings: Settings, name: str) -> State:
    found = lines(settings, services=False)
    assert name in found, list(found)
    assert found[name].todo or found[name].state in (State.ok, State.unknown), found[name]
    return found[name].state


def test_a_new_installation_is_looked_at_and_nothing_fails_but_what_is_not_done(settings: Settings) -> None:
    found = lines(settings, services=False)
    not_ok = {name for name, line in found.items() if line.state in (State.warn, State.fail)}
    assert not_ok <= {"daily_stats", "heartbeats"}


def test_yesterday_must_be_rolled_up(database: Database, settings: Settings) -> None:
    at = datetime.now(UTC)
    if at.hour < 2:
        pytest.skip("the night belongs to the rollup (2026-11-28)")
    assert state_of(settings, "daily_stats") is State.fail
    roll_up_all(database.engine, DayRange(YESTERDAY, YESTERDAY))
    assert state_of(settings, "daily_stats") is State.ok


def test_a_database_that_cannot_be_reached_is_one_line_and_no_traceback(settings: Settings) -> None:
    away = settings.model_copy(update={"database_url": SecretStr("postgresql://u:" + "hidden1word" + "@127.0.0.1:1/x")})
    report = examine(away, services=False, dagster=False)
    assert [line.name for line in report.lines] == ["database", "disk"]
    assert (report.exit_code, report.http_status, readiness(away).http_status) == (2, 503, 503)
    assert "hidden1word" not in json.dumps(report.as_json())
    assert readiness(settings).http_status == 200


def test_rights_that_were_given_by_hand_are_found(database: Database, settings: Settings) -> None:
    assert state_of(settings, "access") is State.ok
    database.run("GRANT SELECT ON monitoring.heartbeats TO PUBLIC")
    assert state_of(settings, "access") is State.fail
    database.run("REVOKE SELECT ON monitoring.heartbeats FROM PUBLIC")
    database.run("ALTER TABLE public.sms_events DISABLE ROW LEVEL SECURITY")
    assert "sms_events" in lines(settings, services=False)["access"].said


def test_a_table_that_was_changed_is_found(database: Database, settings: Settings) -> None:
    assert state_of(settings, "schema") is State.ok
    database.run("ALTER TABLE monitoring.heartbeats DROP COLUMN last_failure_at")
    assert state_of(settings, "schema") is State.fail


@pytest.mark.parametrize(
    ("name", "breaks", "mends"),
    [
        (
            "tracking",
            "INSERT INTO monitoring.tracking_writers (writer_id, host, process_id, started_at, accepted, written,"
            " spilled, dropped, rejected, dropped_at) VALUES (gen_random_uuid(), 'h', 1, now(), 9, 1, 0, 8, 0, now())",
            "UPDATE monitoring.tracking_writers SET dropped_at = now() - interval '25 hours'",
        ),
        (
            "tracking",
            "INSERT INTO monitoring.tracking_writers (writer_id, host, process_id, started_at, accepted, written,"
            " spilled, dropped, rejected, damaged, dropped_at)"
            " VALUES (gen_random_uuid(), 'h', 1, now(), 9, 9, 0, 0, 0, 2, now())",
            "UPDATE monitoring.tracking_writers SET dropped_at = NULL, trimmed = 3",
        ),
        (
            "guardrail",
            "INSERT INTO monitoring.openai_budgets (day, used_tokens) VALUES (monitoring.today(), 5)",
            "DELETE FROM monitoring.openai_budgets",
        ),
        (
            "dead notifications",
            "INSERT INTO monitoring.notifications (incident_id, sequence, kind, severity, channel, recipient, message,"
            " status, deadline_at, finished_at, note) VALUES (1, 1, 'firing', 'info', 'slack', 'C1', '{}', 'dead',"
            " now(), now(), 'channel_not_found')",
            "DELETE FROM monitoring.notifications",
        ),
        (
            "alert rules",
            "INSERT INTO monitoring.rule_states (rule, verdict, breaches, note, evaluated_at)"
            " VALUES ('openai_budget', 'error', 0, 'relation is away', now())",
            "UPDATE monitoring.rule_states SET verdict = 'ok', note = NULL",
        ),
        (
            "outbox",
            "INSERT INTO monitoring.notifications (incident_id, sequence, kind, severity, channel, recipient, message,"
            " due_at, deadline_at) VALUES (1, 1, 'firing', 'info', 'slack', 'C1', '{}', now() - interval '11 min',"
            " now())",
            "UPDATE monitoring.notifications SET status = 'sent'",
        ),
        (
            "archive",
            "INSERT INTO monitoring.archive_segments (id, table_name, day, seq, state, failure)"
            " VALUES (gen_random_uuid(), 'sms_events', '2026-01-01', 1, 'verified', 'the file has another hash')",
            "UPDATE monitoring.archive_segments SET failure = NULL",
        ),
        (
            "old cron scripts",
            "INSERT INTO public.api_usage (service, endpoint, created_at) VALUES ('openai', 'daily_reset', now())",
            "UPDATE public.api_usage SET created_at = now() - interval '3 days'",
        ),
    ],
)
def test_what_is_wrong_in_the_database_is_named_until_it_is_mended(
    database: Database, settings: Settings, name: str, breaks: str, mends: str
) -> None:
    assert state_of(settings, name) is State.ok
    database.run(breaks)
    assert state_of(settings, name) in (State.warn, State.fail)
    database.run(mends)
    assert state_of(settings, name) is State.ok


def _fill(database: Database, weeks: int, *, per_hour: int) -> None:
    """A business week: texts every hour of the same weekday and hour, none in the last hours."""
    database.run(
        "INSERT INTO public.sms_events (from_number, to_number, status, created_at)"
        " SELECT '+1', '+2', 'sent', now() - make_interval(weeks => w, mins => (m * 60.0 / %s)::int)"
        " FROM generate_series(1, %s) AS w, generate_series(0, %s) AS m",
        per_hour, weeks, per_hour * 30,
    )  # fmt: skip


def test_silence_is_an_incident_only_where_there_is_usually_traffic(database: Database, settings: Settings) -> None:
    assert state_of(settings, "source sms_events") is State.unknown
    _fill(database, 3, per_hour=20)
    assert state_of(settings, "source sms_events") is State.fail
    database.run("INSERT INTO public.sms_events (from_number, to_number, status) VALUES ('+1', '+2', 'sent')")
    assert state_of(settings, "source sms_events") is State.ok


def test_a_quiet_sunday_is_no_incident(database: Database, settings: Settings) -> None:
    _fill(database, 3, per_hour=20)
    database.run("DELETE FROM public.sms_events WHERE created_at > now() - interval '15 days'")
    assert state_of(settings, "source sms_events") is State.ok


@contextmanager
def dagster_storage(server: Server) -> Iterator[Database]:
    with fresh_database(server) as storage:
        with stored_instance(storage.plain_url):
            pass
        yield storage


def test_daemon_switches_and_queue_are_read_from_dagsters_storage(
    server: Server, database: Database, tmp_path: Path
) -> None:
    with dagster_storage(server) as storage:
        settings = database.settings(data_dir=tmp_path, dagster_database_url=storage.url)

        def state(name: str) -> State:
            return {line.name: line.state for line in examine(settings, services=False).lines}[name]

        assert state("daemon") is State.fail
        beat = "INSERT INTO daemon_heartbeats (daemon_type, timestamp) VALUES ('SENSOR', now() AT TIME ZONE 'UTC')"
        storage.run(beat)
        assert state("daemon") is State.ok
        storage.run("UPDATE daemon_heartbeats SET timestamp = timestamp - interval '3 min'")
        assert state("daemon") is State.fail
        assert state("schedules and sensors") is State.ok
        storage.run(
            "INSERT INTO instigators (selector_id, status, instigator_body)"
            " VALUES ('s', 'STOPPED', '{\"origin\": {\"instigator_name\": \"rollup_schedule\"}}')"
        )
        assert state("schedules and sensors") is State.warn
        assert state("run queue") is State.ok
        storage.run(
            "INSERT INTO runs (run_id, status, create_timestamp) VALUES ('r', 'QUEUED', now() - interval '20 min')"
        )
        assert state("run queue") is State.warn
        assert state("dagster storage") is State.ok


def test_slack_is_asked_who_we_are_and_sent_nothing(settings: Settings) -> None:
    with serving(FakeSlack()) as slack:
        slack._test = lambda _values: {"user": "bot"}  # type: ignore[attr-defined]
        told = {"slack_bot_token": SecretStr("xoxb"), "slack_channel": "C1", "slack_base_url": slack.url + "/api/"}
        ready = settings.model_copy(update=told)
        assert lines(ready)["slack"].state is State.ok
        slack.refuses_with = "invalid_auth"
        assert lines(ready)["slack"].said == "refused: invalid_auth"
        assert slack.messages == {}
    assert lines(ready)["slack"].state is State.fail
    assert [path for _, path, _, _ in slack.requests] == ["/api/auth.test"] * 2


class _Account(Fake):
    status, code = "active", 200

    def is_send(self, method: str, path: str) -> bool:
        return False

    def answer(self, method: str, path: str, *_: Any) -> Reply:
        return Reply(self.code, json.dumps({"sid": path.rsplit("/", 1)[1][:-5], "status": self.status, "code": 20003}))


def test_twilio_is_asked_for_the_account(settings: Settings) -> None:
    with serving(_Account()) as twilio:
        account = "AC" + "0" * 32
        told = {
            "twilio_account_sid": SecretStr(account),
            "twilio_auth_token": SecretStr("t"),
            "twilio_base_url": twilio.url,
        }
        ready = settings.model_copy(update=told)
        assert lines(ready)["twilio"].state is State.ok
        twilio.status = "suspended"
        assert lines(ready)["twilio"].said == "the account is suspended"
        twilio.code = 401
        assert "20003" in lines(ready)["twilio"].said
        assert account not in str(lines(ready))
        assert {method for method, *_ in twilio.requests} == {"GET"}
    assert lines(ready)["twilio"].state is State.fail


def test_heartbeats_go_forward_only_and_what_is_late_is_named(database: Database, settings: Settings) -> None:
    minute, now = timedelta(minutes=1), datetime.now(UTC)
    at = {"late": now - 3 * minute, "in_time": now - minute, "on_demand": now - timedelta(days=400)}
    beats = [Heartbeat("sensor", n, None if n == "on_demand" else minute, when, None, now) for n, when in at.items()]
    with database.engine.begin() as connection:
        heartbeat.record(connection, beats)
        heartbeat.record(
            connection, [Heartbeat("sensor", n, b.interval, None, None, now) for n, b in zip(at, beats, strict=True)]
        )
    found = lines(settings, services=False)
    assert "sensor late" in found
    assert found["sensor late"].state is State.fail
    assert "sensor in_time" not in found
    assert "sensor on_demand" not in found
    with database.engine.begin() as connection:
        heartbeat.record(connection, [Heartbeat("sensor", "in_time", minute, now, None, now)])
    assert state_of(settings, "heartbeats") is State.ok


def test_doctor_says_it_on_one_screen_and_for_machines(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMARTTEXT_DATABASE_URL", database.url)
    done = CliRunner().invoke(app, ["doctor", "--no-services"])
    assert done.exit_code == 2, done.output
    assert "no embedded server runs" in " ".join(done.output.split())
    assert not Path(".smarttext").exists()
    told = CliRunner().invoke(app, ["doctor", "--json"])
    report = json.loads(told.output)
    assert (told.exit_code, report["exit_code"]) == (2, 2)
    assert {line["name"] for line in report["lines"]} >= {"database", "outbox", "guardrail", "disk", "twilio"}
    assert all(line["todo"] for line in report["lines"] if line["state"] in ("warn", "fail"))


def test_a_channel_that_refuses_is_named_at_once_and_a_failure_after_three_minutes(
    database: Database, settings: Settings
) -> None:
    database.run(
        "INSERT INTO monitoring.notifications (incident_id, sequence, kind, severity, channel, recipient, message,"
        " attempts, note, first_attempt_at, due_at, deadline_at)"
        " VALUES (1, 1, 'firing', 'info', 'slack', 'C1', '{}', 1, '429', now(), now() + interval '1 min', now())"
    )
    assert state_of(settings, "outbox") is State.warn
    database.run("UPDATE monitoring.notifications SET first_attempt_at = now() - interval '4 minutes'")
    assert state_of(settings, "outbox") is State.fail


def test_doctor_starts_without_dagster() -> None:
    modules = "smarttext_pipelines.health.doctor, smarttext_pipelines.cli.doctor_command"
    code = f"import sys, {modules}; print('dagster' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


REFUSING = {
    "ALTER TABLE public.sms_events ADD CONSTRAINT sms_status_known CHECK (status IN ('queued', 'sent', 'delivered'))": (
        "sms_events refuses the status 'scheduled'",
        "'read'",
        "constraint sms_status_known",
    ),
    "ALTER TABLE public.api_usage ADD COLUMN environment text NOT NULL": (
        "api_usage refuses a settled call, a price",
        "column environment must not be NULL",
    ),
    "ALTER TABLE public.call_events ALTER COLUMN call_sid TYPE varchar(5)": (
        "call_events refuses the event",
        "too long",
    ),
}


@pytest.mark.parametrize("statement", REFUSING)
def test_a_table_that_refuses_a_row_is_named_with_what_refuses_it(
    statement: str, database: Database, settings: Settings
) -> None:
    tables = ("sms_events", "api_usage", "call_events")
    assert lines(settings, services=False, anew=True)["table rows"].state is State.ok
    database.run(statement)
    found = lines(settings, services=False, anew=True)["table rows"]
    assert found.state is State.warn
    assert all(part in found.said for part in REFUSING[statement])
    assert found.todo
    assert [database.rows(f"SELECT count(*) FROM public.{table}")[0]["count"] for table in tables] == [0, 0, 0]


def test_where_the_guard_is_used_a_ledger_that_refuses_its_rows_is_a_failure(
    database: Database, settings: Settings
) -> None:
    database.run("SELECT public.reserve_openai_usage(NULL, 10, 'r1')")
    database.run("ALTER TABLE public.api_usage ADD COLUMN environment text NOT NULL")
    assert lines(settings, services=False, anew=True)["table rows"].state is State.fail


def test_rows_are_tried_every_quarter_of_an_hour_unless_somebody_asks(database: Database, settings: Settings) -> None:
    assert lines(settings, services=False)["table rows"].state is State.ok
    database.run("ALTER TABLE public.api_usage ADD COLUMN environment text NOT NULL")
    assert lines(settings, services=False)["table rows"].state is State.ok
    assert lines(settings, services=False, anew=True)["table rows"].state is State.warn


def test_a_check_that_fails_is_a_line_until_it_passes(database: Database, settings: Settings) -> None:
    assert lines(settings, services=False)["checks"].state is State.ok
    for value, state in ((1, State.warn), (0, State.ok)):
        database.run("DELETE FROM monitoring.alert_signals")
        database.run(
            "INSERT INTO monitoring.alert_signals (signal, scope, value, detail)"
            f" VALUES ('failed_checks', 'check:spend.undated_rows', {value}, 'x')"
        )
        line = lines(settings, services=False)["checks"]
        assert line.state is state
        assert ("spend.undated_rows" in line.said) is (value == 1)


def test_a_role_that_only_reads_is_told_that_nothing_was_tried(database: Database, settings: Settings) -> None:
    reader = f"reader_{database.name}"
    database.run(f"CREATE ROLE {reader} LOGIN BYPASSRLS")
    try:
        for schema in ("public", "monitoring"):
            database.run(f"GRANT USAGE ON SCHEMA {schema} TO {reader}")
            database.run(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {reader}")
        with acting_as(database, reader) as engine:
            line = table_rows(engine, anew=True)
        assert line.state is State.unknown
        assert "this role writes nothing there" in line.said
    finally:
        database.run(f"DROP OWNED BY {reader}; DROP ROLE {reader}")
