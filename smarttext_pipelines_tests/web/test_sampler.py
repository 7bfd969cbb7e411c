"""The sampler counts today as the rollup would write it, at any time, and announces what changed."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
from hypothesis import given, settings
from hypothesis import strategies as st

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.digest.totals import read_totals
from smarttext_pipelines.web.live_today import read_live_today
from smarttext_pipelines.web.sampler import CHANNEL, Sampler
from smarttext_pipelines_tests import strategies
from smarttext_pipelines_tests.conftest import SOAK, Database
from smarttext_pipelines_tests.events import insert_events, replace_events, roll_up_all
from smarttext_pipelines_tests.web.conftest import DAY, NOW


def _settings(database: Database, zone: str = "UTC") -> Any:
    senders = ",".join(sorted(strategies.SHARED_SENDERS))
    return database.settings(shared_senders=senders, reporting_timezone=zone)


def test_today_is_what_the_rollup_writes_at_any_time_of_reading(database: Database) -> None:
    senders = sorted(strategies.SHARED_SENDERS)
    sampler = Sampler(database.engine, _settings(database))

    @settings(max_examples=50 if SOAK else 3)
    @given(
        events=strategies.event_sets(ZoneInfo("UTC"), DAY),
        minutes=st.lists(st.integers(1, 1439), min_size=1, max_size=3),
    )
    def agrees(events: Any, minutes: list[int]) -> None:
        replace_events(database.engine, events)
        # The statements are compiled at the first of them, and used at all.
        for at in [datetime.combine(DAY, datetime.min.time(), UTC) + timedelta(minutes=n) for n in minutes]:
            roll_up_all(database.engine, DayRange(DAY, DAY), shared_senders=senders, as_of=at)
            with database.engine.begin() as connection:
                counted = sampler.count(connection, DAY, at, {}).totals
                written = read_totals(connection, [DAY])[DAY]
            assert counted == written

    agrees()


def test_peculiar_events_are_counted_as_the_rollup_counts_them(database: Database) -> None:
    replace_events(database.engine, strategies.every_peculiarity(ZoneInfo("UTC"), DAY))
    senders = sorted(strategies.SHARED_SENDERS)
    roll_up_all(database.engine, DayRange(DAY, DAY), shared_senders=senders, as_of=NOW)
    with database.engine.begin() as connection:
        found = Sampler(database.engine, _settings(database)).count(connection, DAY, NOW, {})
        assert found.totals == read_totals(connection, [DAY])[DAY]
        assert found.totals.missed
    unanswered = database.rows(
        "SELECT business_id, unreplied_count FROM monitoring.missed_call_replies"
        " WHERE unreplied_count > 0 AND day = %s",
        DAY,
    )
    assert {(each.business_id, each.unreplied) for each in found.unanswered} == {
        (row["business_id"], row["unreplied_count"]) for row in unanswered
    }


def test_a_new_row_is_counted_announced_and_kept_until_a_newer_one(database: Database) -> None:
    now = datetime.now(UTC)
    # Not just after midnight: the rows are of the last minute.
    now = max(now, now.replace(hour=0, minute=5)).replace(second=1)  # with each new minute today is counted again
    sampler = Sampler(database.engine, _settings(database))
    with psycopg.connect(database.plain_url, autocommit=True) as listener:
        listener.execute(f"LISTEN {CHANNEL}")
        assert sampler.look(now) == ["today"]
        assert sampler.look(now + timedelta(seconds=1)) == []
        with database.engine.begin() as connection:
            row = strategies.call_event(1, now - timedelta(minutes=1), event_type="voice.missed", call_sid="CA1")
            insert_events(connection, {"call_events": [row]})
        assert sampler.look(now + timedelta(seconds=2)) == ["today"]
        heard = [notice.payload for notice in listener.notifies(timeout=1)]
    assert heard == ["today", "today"]
    with database.engine.begin() as connection:
        found = read_live_today(connection, now.date())
        assert found is not None
        assert (found.totals.missed, found.newest["call_events"]) == (1, now - timedelta(minutes=1))
        assert read_live_today(connection, now.date() + timedelta(days=1)) is None


def test_an_incident_a_silence_and_a_rollup_are_announced(database: Database) -> None:
    now = datetime.now(UTC)
    sampler = Sampler(database.engine, _settings(database))
    sampler.look(now)
    database.run(
        "INSERT INTO monitoring.silences (rule, author, reason, ends_at) VALUES ('x', 'a', 'b', now() + interval '1 h')"
    )
    assert sampler.look(now) == ["incidents"]
    roll_up_all(database.engine, DayRange(DAY, DAY))
    assert sampler.look(now) == ["rollup"]
