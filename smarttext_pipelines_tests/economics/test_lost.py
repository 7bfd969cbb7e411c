"""Customers who were not reached: counted from the events, with an interval that is Wilson's."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smarttext_pipelines.core.days import day_start
from smarttext_pipelines.core.rates import wilson_interval, wilson_lower_percent
from smarttext_pipelines.digest.facts import Facts
from smarttext_pipelines.digest.judged import judge
from smarttext_pipelines.digest.totals import Totals
from smarttext_pipelines.economics.lost import Lost, in_words, read_lost
from smarttext_pipelines.economics.write_backs import count_write_backs
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.economics.ledgers import days_of, stats
from smarttext_pipelines_tests.guardrail import add_businesses

FIRST = date(2026, 3, 7)
DAYS = days_of(FIRST, 3)
LATER = datetime(2026, 4, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Event:
    """A missed call, a text to a caller or one of his; ``hour`` counts from the first day."""

    kind: str
    who: int
    caller: int
    hour: int
    is_good: bool


EVENTS = st.lists(
    st.builds(
        Event,
        kind=st.sampled_from(["missed", "text", "wrote"]),
        who=st.sampled_from([0, 0, 1]),
        caller=st.sampled_from([0, 0, 1]),
        hour=st.integers(0, 119),
        is_good=st.sampled_from([True, True, False]),
    ),
    min_size=3,
    max_size=12,
)


def counted(events: Sequence[Event], zone: ZoneInfo) -> dict[tuple[date, int], tuple[int, int]]:
    """Return texted callers and those who wrote back, by day and business, from the definition."""
    start = day_start(FIRST, zone)
    of: dict[tuple[str, int, int], list[datetime]] = defaultdict(list)
    for e in events:
        if e.kind != "text" or e.is_good:
            of[e.kind, e.who, e.caller].append(start + e.hour * _HOUR)
    found: dict[tuple[date, int], list[bool]] = defaultdict(list)
    for (kind, who, caller), calls in list(of.items()):
        for day in DAYS if kind == "missed" else ():
            that_day = [at for at in calls if at.astimezone(zone).date() == day]
            texts = [
                t for t in of["text", who, caller] if that_day and min(that_day) <= t <= min(that_day) + 24 * _HOUR
            ]
            if texts:
                wrote = of["wrote", who, caller]
                found[day, who].append(any(min(texts) < w <= min(texts) + 24 * _HOUR for w in wrote))
    return {key: (len(each), sum(each)) for key, each in found.items()}


def write(database: Database, businesses: Sequence[UUID], events: Sequence[Event], zone: ZoneInfo) -> None:
    start = day_start(FIRST, zone)
    with database.server.connect(database.name) as connection:
        connection.execute("TRUNCATE public.call_events, public.sms_events, monitoring.write_backs")
        for e in events:
            at, number = start + e.hour * _HOUR, f"+1555000000{e.caller}"
            if e.kind == "text":
                status = "delivered" if e.is_good else "failed"
                spelled = f"whatsapp:{number}" if e.hour % 2 else f"+1 (555) 000-000{e.caller}"
                connection.execute(
                    "INSERT INTO public.sms_events (from_number, to_number, business_id, status, created_at) "
                    "VALUES ('+15550009999', %s, %s, %s, %s)",
                    [spelled, businesses[e.who], status, at],
                )
            else:
                kind = "voice.missed" if e.kind == "missed" else "sms.inbound"
                connection.execute(
                    "INSERT INTO public.call_events (event_type, from_number, business_id, ts) VALUES (%s, %s, %s, %s)",
                    [kind, number, businesses[e.who], at],
                )


@given(events=EVENTS, zone=st.sampled_from(["UTC", "America/New_York", "Asia/Kolkata"]))
@settings(max_examples=60)
def test_write_backs_are_those_of_the_definition(database: Database, events: list[Event], zone: str) -> None:
    businesses = [row["id"] for row in database.rows("SELECT id FROM public.businesses ORDER BY name")]
    businesses = businesses or add_businesses(database, 2)
    write(database, businesses, events, ZoneInfo(zone))
    for _ in range(2):
        with database.engine.begin() as connection:
            count_write_backs(connection, DAYS, ZoneInfo(zone), LATER)
    rows = database.rows("SELECT * FROM monitoring.write_backs")
    assert sum(row["business_id"] is None for row in rows) == len(DAYS)
    found = {
        (row["day"], businesses.index(row["business_id"])): (row["texted_callers"], row["wrote_back"])
        for row in rows
        if row["business_id"]
    }
    assert found == counted(events, ZoneInfo(zone))


def test_a_day_is_counted_when_its_callers_have_had_their_time(database: Database) -> None:
    for hours, counted_days in ((47, 0), (48, 1)):
        with database.engine.begin() as connection:
            now = datetime(2026, 3, 8, tzinfo=UTC) + hours * _HOUR
            count_write_backs(connection, [FIRST], ZoneInfo("UTC"), now)
        assert len(database.rows("SELECT * FROM monitoring.write_backs")) == counted_days


def test_a_day_whose_events_are_archived_is_unknown_not_zero(database: Database) -> None:
    database.run(
        "INSERT INTO monitoring.archive_segments (id, table_name, day, seq, state) "
        "VALUES (gen_random_uuid(), 'call_events', '2026-03-07', 1, 'deleted')"
    )
    with database.engine.begin() as connection:
        count_write_backs(connection, [FIRST], ZoneInfo("UTC"), LATER)
    assert database.rows("SELECT * FROM monitoring.write_backs") == []


@pytest.mark.parametrize(
    ("part", "whole", "low", "high"),
    [(0, 10, 0.0, 0.2775), (4, 10, 0.1682, 0.6873), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)],
)
def test_the_interval_is_wilson_s(part: int, whole: int, low: float, high: float) -> None:
    """The last is Newcombe's example, Statistics in Medicine 17 (1998), table I, method 3."""
    found = wilson_interval(part, whole)
    assert found is not None
    assert [round(end, 4) for end in found] == [low, high]
    lower = wilson_lower_percent(part, whole - part)
    assert lower is not None
    assert abs(float(lower) - 100 * found[0]) <= 0.005


def test_without_anybody_who_was_texted_the_share_is_unknown() -> None:
    found = Lost("B", None, 5, 0, 0)
    assert (wilson_interval(0, 0), found.about, found.interval, in_words([found])) == (None, None, None, "")


def test_it_reads_as_people_say_it() -> None:
    dover, ajax, nobody = Lost("Dover", None, 10, 20, 14), Lost("Ajax", None, 1, 10, 4), Lost("New", None, 3, 0, 0)
    assert (dover.about, dover.interval) == (7, (4, 9))
    assert in_words([dover, ajax, nobody]) == (
        "About 7 (4–10) customers not reached: Dover about 7 (4–9); unknown for 1 more business"
    )
    assert in_words([Lost("Dover", None, 1, 2, 2)]) == "About 1 (0–1) customer not reached: Dover about 1 (0–1)"


def test_the_digest_says_how_many_and_nothing_where_it_is_unknown() -> None:
    today = Totals(calls=12, missed=12, in_time=2, late=0, never=10, unknown=0)
    known, unknown = (
        [each.text for each in judge(Facts(FIRST, today, lost=[Lost("Dover", None, 10, texted, 14)]))]
        for texted in (20, 0)
    )
    assert "About 7 (4–9) customers not reached: Dover about 7 (4–9)." in known
    assert not any("not reached" in text for text in unknown)


def test_who_lost_most_comes_first_and_the_unknown_last(database: Database) -> None:
    many, few, new = add_businesses(database, 3)
    for business, unanswered in ((many, 20), (few, 5), (new, 50)):
        stats(database, business, FIRST, missed_calls_unreplied=unanswered)
    for business, wrote in ((many, 1), (few, 9)):
        database.run("INSERT INTO monitoring.write_backs VALUES ('2026-03-01', %s, 10, %s)", business, wrote)
    with database.engine.connect() as connection:
        found = read_lost(connection, [FIRST])
        assert [each.business_id for each in found] == [few, many, new]
        assert [each.about for each in found] == [5, 2, None]
        assert [each.business_id for each in read_lost(connection, [FIRST], many)] == [many]
