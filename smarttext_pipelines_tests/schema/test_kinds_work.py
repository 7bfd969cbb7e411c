"""What writes, counts, alerts and archives works on each kind of table as on the declared one, or says why not."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import psycopg
import pytest

from smarttext_pipelines.alerting.incidents.evaluate import evaluate
from smarttext_pipelines.alerting.measuring.now import Place
from smarttext_pipelines.alerting.rules.rules_file import load_rules
from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.budgets.ledger_findings import counter_differences
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.health.doctor import examine
from smarttext_pipelines.health.verdicts import State
from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines.retention.erase import erase
from smarttext_pipelines.retention.restore import restore
from smarttext_pipelines.retention.run import Retention, archive_days, raise_failures
from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines.tracking.inserts import connect, insert
from smarttext_pipelines.twilio import fetch_reports
from smarttext_pipelines.twilio.client import build_twilio_client
from smarttext_pipelines_tests.alerts import MINUTE, Recorder
from smarttext_pipelines_tests.conftest import Copied, Database, Server, fresh_database, soak_cases
from smarttext_pipelines_tests.events import cells, roll_up_all
from smarttext_pipelines_tests.fakes.server import serving
from smarttext_pipelines_tests.fakes.twilio import FakeTwilio
from smarttext_pipelines_tests.guardrail import reap
from smarttext_pipelines_tests.strategies import BUSINESS_IDS, business, events, sms_event
from smarttext_pipelines_tests.worlds import DAYS, SHORT_KINDS, WORKING, build, some_events, tell

ZONE = ZoneInfo("UTC")
WRITABLE = [None, *(kind for kind in WORKING if "view" not in kind)]
VIEWS = [kind for kind in WORKING if "view" in kind]
TABLES = ("sms_events", "call_events", "api_usage", "owner_alerts")


World = Callable[[str | None], AbstractContextManager[Database]]


@pytest.fixture(scope="module")
def world(copied: Copied) -> World:
    """Give an adopted database of a kind."""
    return lambda kind: copied(adopted, kind)


def adopted(database: Database, kind: str | None) -> None:
    build(database, kind)
    migrate(database.engine, ZONE)


@pytest.fixture(params=soak_cases(WRITABLE, short=[kind for kind in SHORT_KINDS if kind not in VIEWS]), ids=str)
def writable(request: pytest.FixtureRequest, world: World) -> Iterator[Database]:
    with world(request.param) as database:
        yield database


@pytest.fixture(params=soak_cases(VIEWS, short=VIEWS[-1:]))
def viewed(request: pytest.FixtureRequest, world: World) -> Iterator[Database]:
    with world(request.param) as database:
        yield database


def used(database: Database) -> Any:
    found = database.rows("SELECT sum(used_tokens) AS n FROM monitoring.openai_budgets WHERE day = monitoring.today()")
    return found[0]["n"] or 0


def counter_is_right(database: Database) -> bool:
    with connected(database.engine) as connection:
        return counter_differences(connection) == []


@pytest.mark.parametrize("kind", soak_cases([None, *WORKING], short=SHORT_KINDS), ids=str)
def test_the_guard_counts_every_way_in_and_refuses_at_the_limit(kind: str | None, world: World) -> None:
    with world(kind) as database:
        database.run("UPDATE monitoring.openai_limits SET limit_tokens = 1000")
        with database.server.connect(database.name) as connection:
            # The session of an application elsewhere: what has no zone is of UTC all the same.
            connection.execute("SET timezone = 'Pacific/Kiritimati'")
            reserve = "SELECT allowed FROM public.reserve_openai_usage(NULL, 300, %s)"
            for name in ("r1", "r2", "r3"):
                assert connection.execute(reserve, [name]).fetchone() == (True,)
            assert connection.execute(reserve, ["r4"]).fetchone() == (False,)
            for name in ("r1", "r2"):
                settled = "SELECT settled FROM public.settle_openai_usage(%s, 200::bigint, 0.01)"
                assert connection.execute(settled, [name]).fetchone() == (True,)
        reap(database)
        assert used(database) == 700
        assert counter_is_right(database)
        at = "now() AT TIME ZONE 'UTC'" if (kind and "several" in kind) or kind == "timestamp" else "now()"
        direct = "INSERT INTO public.api_usage (service, endpoint, tokens_used, created_at)"
        direct += " VALUES ('openai', 'chat', 50, {})"
        database.run(direct.format(at))
        assert used(database) == 750
        database.run("UPDATE public.api_usage SET tokens_used = 60 WHERE tokens_used = 50")
        assert used(database) == 760
        database.run("DELETE FROM public.api_usage WHERE tokens_used = 60")
        assert (used(database), counter_is_right(database)) == (700, True)
        ids = database.rows(
            "SELECT DISTINCT abs(extract(epoch FROM created_at - now())) < 1800 AS is_now FROM monitoring.api_usage"
        )
        assert ids == [{"is_now": True}]


@pytest.mark.parametrize("kind", soak_cases(["partitioned", "several"], short=["several"]))
def test_rows_written_into_a_partition_itself_are_counted_and_those_of_a_later_one_are_found(
    kind: str, world: World
) -> None:
    with world(kind) as database:
        direct = "INSERT INTO public.{} (id, service, endpoint, tokens_used, created_at) VALUES (gen_random_uuid(),"
        row = direct + " 'openai', 'chat', 50, '{}')"
        now = datetime.now(UTC)
        database.run(row.format("api_usage_other", now.isoformat()))
        assert (used(database), counter_is_right(database)) == (50, True)
        database.run("TRUNCATE public.api_usage_march")
        assert (used(database), counter_is_right(database)) == (50, True)
        database.run("TRUNCATE public.api_usage_other")
        assert (used(database), counter_is_right(database)) == (0, True)
        first, last = now - timedelta(days=1), now + timedelta(days=1)
        database.run(
            f"CREATE TABLE public.api_usage_now PARTITION OF public.api_usage FOR VALUES FROM ('{first}') TO ('{last}')"
        )
        database.run(row.format("api_usage_now", now.isoformat()))
        assert not counter_is_right(database)
        migrate(database.engine, ZONE)
        assert (used(database), counter_is_right(database)) == (50, True)
        database.run(row.format("api_usage_now", now.isoformat()))
        assert (used(database), counter_is_right(database)) == (100, True)


def tracked() -> list[tuple[str, str]]:
    at = datetime(2026, 3, 16, 23, 59, 59, 123456, tzinfo=UTC).isoformat()
    text = {"from_number": "+15550100001", "to_number": "+15550100002", "status": "failed", "created_at": at}
    rows: list[tuple[str, dict[str, Any]]] = [
        ("sms_events", {**text, "message_sid": "SM1", "error_code": "30007", "payload": {"a": 1}}),
        ("call_events", {"call_sid": "CA1", "event_type": "voice.missed", "ts": at, "payload": {}}),
        ("api_usage", {"endpoint": "chat", "tokens_used": 5, "cost_estimate": "0.5", "created_at": at, "metadata": {}}),
    ]
    return [(table, json.dumps({"id": str(uuid4()), **row})) for table, row in rows]


SEEN = """
SELECT (SELECT jsonb_build_array(message_sid, status, error_code, created_at, payload)
        FROM monitoring.sms_events) AS text,
       (SELECT jsonb_build_array(call_sid, event_type, ts) FROM monitoring.call_events) AS call,
       (SELECT jsonb_build_array(service, endpoint, tokens_used, cost_estimate, created_at, reset_date)
        FROM monitoring.api_usage) AS usage
"""


def test_what_is_tracked_is_a_row_once_with_the_values_that_were_told(writable: Database) -> None:
    rows, at = tracked(), "2026-03-16T23:59:59.123456+00:00"
    with connect(writable.plain_url) as connection:
        connection.execute("SET timezone = 'Asia/Tokyo'")
        for _ in range(2):
            assert [bad for table, row in rows for bad in insert(connection, table, [row])] == []
    with writable.server.connect(writable.name) as connection:
        connection.execute("SET timezone = 'UTC'")
        text, call, usage = connection.execute(SEEN).fetchone() or ()
    assert text == ["SM1", "failed", "30007", at, {"a": 1}]
    assert call == ["CA1", "voice.missed", at]
    assert usage == ["openai", "chat", 5, 0.5, at, "2026-03-16"]


def test_into_a_view_nothing_is_tracked_and_the_reason_is_said(viewed: Database) -> None:
    with connect(viewed.plain_url) as connection:
        with pytest.raises(psycopg.Error, match="is a view: nothing is written into it"):
            insert(connection, tracked()[0][0], [tracked()[0][1]])
        assert [bad for table, row in tracked()[2:] for bad in insert(connection, table, [row])] == []
    line = {line.name: line for line in examine(viewed.settings(), services=False, dagster=False).lines}
    assert line["source tables"].state is State.ok
    assert "sms_events is a view" in line["source tables"].said


def told_by_twilio(database: Database) -> dict[str, Any]:
    now = datetime(2026, 3, 16, 12, tzinfo=UTC)
    row = sms_event(1, now - timedelta(hours=20), message_sid="SM" + "1" * 32, from_number="+15550001000")
    tell(database, events(businesses=[business(1)], sms_events=[{**row, "business_id": BUSINESS_IDS[0]}]))
    with serving(FakeTwilio()) as twilio:
        twilio.now = now.timestamp()
        said = {"error_code": 30003, "price": "-0.00790", "price_unit": "USD"}
        twilio.hold(row["message_sid"], row["created_at"].timestamp(), status="undelivered", **said)
        client = build_twilio_client("AC" + "0" * 32, "token", base_url=twilio.url)
        for hours in (0, 1):
            fetch_reports(database.engine, client, now=now + timedelta(hours=hours), sleep=lambda _: None)
    return {
        "texts": database.rows("SELECT status, error_code, created_at FROM monitoring.sms_events ORDER BY created_at"),
        "prices": database.rows("SELECT service, cost_estimate, reset_date, business_id FROM monitoring.api_usage"),
    }


def test_what_twilio_says_is_written_as_into_the_declared_tables(writable: Database, database: Database) -> None:
    found, right = told_by_twilio(writable), told_by_twilio(database)
    assert found["texts"] == right["texts"]
    assert len(found["prices"]) == 1
    assert found["prices"][0]["cost_estimate"] == right["prices"][0]["cost_estimate"]


def test_doctor_finds_nothing_on_tables_of_another_kind(writable: Database) -> None:
    lines = {line.name: line for line in examine(writable.settings(), services=False, dagster=False, anew=True).lines}
    assert lines["table rows"].state is State.ok, lines["table rows"]
    assert lines["guardrail"].state is State.ok


def incidents(database: Database) -> list[dict[str, Any]]:
    now = datetime(2026, 3, 16, 12, tzinfo=UTC)
    rules, channels, place = load_rules(None), [Recorder()], Place(ZONE, 4, ())
    own = {"message_sid": "", "business_id": BUSINESS_IDS[0], "from_number": "+15550001000"}
    texts = [
        {**sms_event(n, now - 20 * MINUTE), **own, "message_sid": f"SM{n}", "status": "delivered"} for n in range(40)
    ]
    failed = {"status": "undelivered", "error_code": "30007"}
    texts += [{**texts[0], "id": uuid4(), "message_sid": f"SN{n}", **failed} for n in range(25)]
    evaluate(database.engine, rules, channels, place, now=now - MINUTE, link="http://127.0.0.1:3000")
    tell(database, events(businesses=[business(1, twilio_phone="+15550001000")], sms_events=texts))
    for minutes in range(3):
        evaluate(database.engine, rules, channels, place, now=now + minutes * MINUTE, link="http://127.0.0.1:3000")
    return database.rows("SELECT rule, scope, state, value, part, whole FROM monitoring.incidents ORDER BY rule, scope")


@pytest.fixture(scope="module")
def declared_incidents(server: Server, template: str) -> list[dict[str, Any]]:
    with fresh_database(server, template) as database:
        return incidents(database)


@pytest.mark.parametrize("kind", soak_cases(WORKING, short=SHORT_KINDS))
def test_alerts_are_those_of_the_declared_tables(
    kind: str, world: World, declared_incidents: list[dict[str, Any]]
) -> None:
    assert declared_incidents
    with world(kind) as other:
        assert incidents(other) == declared_incidents


def numbers(database: Database) -> dict[str, Any]:
    return {name: cells(database.engine, name) for name in METRICS}


def live(database: Database) -> dict[str, list[Any]]:
    return {table: database.rows(f"SELECT t::text FROM public.{table} AS t ORDER BY id") for table in TABLES}


def test_archived_days_have_the_numbers_that_they_had_and_come_back_as_they_were(
    writable: Database, tmp_path: Path
) -> None:
    archive, days = ArchiveTarget(str(tmp_path / "archive")), DAYS.widen(12)
    tell(writable, some_events(2))
    roll_up_all(writable.engine, days)
    before, rows = numbers(writable), live(writable)
    retention = Retention(ZONE, 4, 90, deletes=True)
    done = archive_days(writable.engine, archive, retention, done=lambda _d: None, begun=lambda _n: None)
    raise_failures(done)
    assert not any(live(writable).values())
    again = roll_up_all(writable.engine, days, archive=archive)
    assert {r.engine for r in again.values()} >= {"archive"}
    assert numbers(writable) == before
    for table in TABLES:
        restore(writable.engine, archive, table, days)
    assert live(writable) == rows
    roll_up_all(writable.engine, days, archive=archive)
    assert numbers(writable) == before


def test_a_view_is_left_out_of_the_archive_and_erasing_says_where_the_rows_are(
    viewed: Database, tmp_path: Path
) -> None:
    archive, days = ArchiveTarget(str(tmp_path / "archive")), DAYS.widen(12)
    tell(viewed, some_events(2))
    roll_up_all(viewed.engine, days)
    before = numbers(viewed)
    retention = Retention(ZONE, 4, 90, deletes=True)
    done = archive_days(viewed.engine, archive, retention, done=lambda _d: None, begun=lambda _n: None)
    raise_failures(done)
    assert {each.table for each in done} == {"api_usage"}
    roll_up_all(viewed.engine, days, archive=archive)
    assert numbers(viewed) == before
    with pytest.raises(InputError, match=r"public.sms_events.* is a view: .* nothing was erased"):
        erase(viewed.engine, archive, "+15550100001", zone=ZONE)


def test_a_day_of_a_time_without_zone_finds_its_index(world: World) -> None:
    with world("timestamp") as database:
        tell(database, some_events(3))
        with database.server.connect(database.name) as connection:
            connection.execute("SET enable_seqscan = off")
            plan = connection.execute(
                "EXPLAIN SELECT count(*) FROM monitoring.sms_events"
                " WHERE created_at >= '2026-03-16 00:00Z' AND created_at < '2026-03-16 00:00:01Z'"
            ).fetchall()
        assert "sms_events_created_at_utc_idx" in str(plan)
