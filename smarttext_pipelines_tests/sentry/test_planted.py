"""Secrets in every text of the application's rows: none leaves by an alert, a digest, a log or the name of a file."""

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid5
from zoneinfo import ZoneInfo

import pytest

from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.digest.enqueue import enqueue_digest
from smarttext_pipelines.retention.run import Retention, archive_days, raise_failures
from smarttext_pipelines.schema.tables import metadata
from smarttext_pipelines_tests.alerts import MINUTE, NOON, Recorder, World, business_id
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import insert_events, roll_up_all
from smarttext_pipelines_tests.planted import Planted, found_in, plant
from smarttext_pipelines_tests.strategies import ID_SPACE

PLANTED = plant(1000)
HOLD_EVENTS = {"sms_outcomes", "spend", "owner_alert_delivery", "daily_stats_adopted"}
"""Numbers by error code, model and type of alert, as the application wrote them; only the pipeline may read them."""


def _rows(planted: list[Planted]) -> dict[str, list[dict[str, Any]]]:
    """Spread the secrets over all texts of rows that fire as many rules as they can."""
    told, at = [each.shown for each in planted], NOON - 20 * MINUTE
    count = len(told)

    def some(n: int, step: int) -> str:
        return told[(7 * n + step) % count]

    names = [
        {"id": business_id(n), "name": some(n, 0), "address": some(n, 1), "twilio_phone": some(n, 2)} for n in range(60)
    ]
    texts = [
        {
            "id": uuid5(ID_SPACE, f"planted text {n}"),
            "message_sid": f"SM{n:032x}",
            "from_number": some(n % 60, 2),
            "to_number": some(n, 3),
            "business_id": business_id(n % 60),
            "status": "undelivered" if n % 3 else "delivered",
            "error_code": some(n, 4) if n % 2 else "30007",
            "error_message": some(n, 5),
            "request_id": some(n, 6),
            "payload": {"body": some(n, 7)},
            "created_at": at,
        }
        for n in range(3 * count)
    ]
    alerts = [
        {
            "business_id": business_id(n % 60),
            "owner_phone": some(n, 1),
            "customer_phone": some(n, 2),
            "alert_type": some(n, 3),
            "message_content": some(n, 4),
            "error_message": some(n, 5),
            "created_at": at,
        }
        for n in range(count)
    ]
    usage = [
        {
            "service": "openai",
            "endpoint": some(n, 1),
            "model": some(n, 2),
            "request_id": some(n, 3),
            "business_id": business_id(n % 60),
            "tokens_used": 100_000,
            "cost_estimate": 0 if n % 2 else 40,
            "created_at": at,
            "reset_date": at.date(),
        }
        for n in range(count)
    ]
    calls = [
        {
            "call_sid": f"CA{n}",
            "event_type": "voice.missed",
            "from_number": some(n, 3),
            "business_id": business_id(n % 60),
            "ts": at - 60 * MINUTE,
            "payload": {"From": some(n, 4)},
        }
        for n in range(count)
    ]
    return {
        "businesses": names,
        "sms_events": texts,
        "owner_alerts": alerts,
        "api_usage": usage,
        "call_events": calls,
    }


def test_what_the_application_wrote_leaves_by_no_alert_digest_log_or_name_of_a_file(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    channels = [Recorder("log", ("log",)), Recorder("slack", ("C1",)), Recorder("twilio_sms", ("phone-1",))]
    world = World(database, channels=channels)
    world.begin()
    with database.engine.begin() as connection:
        insert_events(connection, _rows(PLANTED))
    day = NOON.date()
    roll_up_all(database.engine, DayRange(day, day), as_of=NOON + timedelta(hours=1))
    fired = set()
    for _ in range(3):
        world.tick(3)
        fired |= {rule for (rule,) in world.incidents("rule")}
    with database.engine.begin() as connection:
        lines = enqueue_digest(connection, database.settings(), channels, day)
    roll_up_all(database.engine, DayRange(day, day).widen(5), as_of=NOON + timedelta(days=30))
    archive = ArchiveTarget(str(tmp_path / "archive"))
    raise_failures(
        archive_days(
            database.engine,
            archive,
            Retention(ZoneInfo("UTC"), 4, 90, deletes=True),
            done=lambda _d: None,
            begun=lambda _n: None,
        )
    )
    files = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.parquet")]
    kept = {t.name for t in metadata.sorted_tables if t.schema == "monitoring"} - HOLD_EVENTS
    tables = [str(database.rows(f"SELECT t::text FROM monitoring.{name} AS t")) for name in sorted(kept)]
    assert len(fired) >= 6, fired
    assert len(files) == 4
    assert world.outbox()
    assert found_in("\n".join([*tables, *files, *lines, caplog.text]), PLANTED) == []
