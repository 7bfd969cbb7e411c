"""An erasure finds a person in every spelling that the statistics count as theirs, and nobody else's rows."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.core.customer_keys import customer_key
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.number_patterns import hinted_pattern, mentioned_pattern, spelled_pattern
from smarttext_pipelines.lake.cutting_out import cut_out
from smarttext_pipelines.lake.export import export_days, raise_failures
from smarttext_pipelines.lake.lake_day import Places
from smarttext_pipelines.lake.lake_target import LakeTarget
from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines.retention.erase import erase
from smarttext_pipelines.retention.run import Retention, archive_days
from smarttext_pipelines_tests import reference
from smarttext_pipelines_tests.conftest import SOAK, Database
from smarttext_pipelines_tests.events import CUSTOMER_SECRET, cells, roll_up_all

OLD, NEW = date(2026, 3, 15), date(2026, 11, 10)
AS_OF = datetime(2026, 11, 20, tzinfo=UTC)
CUSTOMERS = {"customer_days": METRICS["customer_days"]}
PERSON = "+15550001111"
DIGITS = ("15550001111", "5550001111", "115550001111", "155500011112", "25550001111", "1555000111", "4515550001111",
          "445550001111", "15550001112", "55500011112", "4555500011")  # fmt: skip
PREFIXES = ("", "+", "00", "011", "0", "whatsapp:+", "whatsapp:00", "+0")


def spaced(digits: str, style: int) -> str:
    """Write digits as people do."""
    head, middle, tail = digits[:-7], digits[-7:-4], digits[-4:]
    return (digits, f"{head} {middle} {tail}", f"({head}) {middle}-{tail}", f"{head}.{middle}.{tail}",
            f"{head}\u00a0{middle}\u2011{tail} ", f"{digits} 2", f"2 {digits}")[style]  # fmt: skip


SPELLINGS = sorted({prefix + spaced(digits, style) for prefix, digits, style in product(PREFIXES, DIGITS, range(7))})
THEIRS = [each for each in SPELLINGS if reference.e164(each) == PERSON]


def _fill(database: Database, day: date) -> None:
    """Let every spelling call, text, be texted and be the customer of an alert."""
    at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    texts = "INSERT INTO public.sms_events (message_sid, created_at, from_number, to_number, status) SELECT"
    for statement in (
        "INSERT INTO public.call_events (ts, from_number, to_number, event_type) SELECT %s, n, 'x', 'voice.missed'",
        f"{texts} gen_random_uuid()::text, %s, 'x', n, 'sent'",
        f"{texts} gen_random_uuid()::text, %s, n, 'x', 'received'",
        "INSERT INTO public.owner_alerts (created_at, business_id, owner_phone, customer_phone, alert_type,"
        " message_content) SELECT %s, md5('b')::uuid, 'o', n, 'custom', ''",
    ):
        database.run(f"{statement} FROM unnest(%s::text[]) AS s (n)", at, SPELLINGS)


def _keys(database: Database) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for row in cells(database.engine, "customer_days"):
        found.setdefault(row["customer_key"], []).append((row["day"], row["calls_total"], row["messages_sent"]))
    return {key: sorted(days) for key, days in found.items() if key}


def _numbers(rows: Any) -> set[str]:
    return {row[name] for row in rows for name in ("from_number", "to_number", "customer_phone") if row.get(name)}


def test_all_spellings_of_a_person_go_from_tables_archive_and_lake_and_no_number_like_it(
    database: Database, tmp_path: Path
) -> None:
    assert len(THEIRS) > 30
    archive, lake = ArchiveTarget(str(tmp_path / "archive")), LakeTarget(str(tmp_path / "lake"))
    database.run("INSERT INTO public.businesses (id, name) VALUES (md5('b')::uuid, 'B')")
    for day in (OLD, NEW):
        _fill(database, day)
    roll_up_all(database.engine, DayRange(OLD, OLD + timedelta(days=4)), as_of=AS_OF)
    roll_up_all(database.engine, DayRange(NEW, NEW), as_of=AS_OF, metrics=CUSTOMERS)
    before, key = _keys(database), customer_key(PERSON, CUSTOMER_SECRET)
    raise_failures(export_days(database.engine, Places(lake, archive), DayRange(NEW, NEW)))
    tables = ("call_events", "sms_events", "owner_alerts")
    archived = archive_days(database.engine, archive, Retention(reference.UTC_ZONE, 4, 90, deletes=True, tables=tables),
                            done=lambda _day: None, begun=lambda _count: None)  # fmt: skip
    assert not [each.failure or each.waits for each in archived if each.day == OLD and (each.failure or each.waits)]

    cut: list[tuple[int, int]] = []
    erased = erase(database.engine, archive, "(555) 000-1111", zone=reference.UTC_ZONE, customer_key=key,
                   elsewhere=lambda digits: cut.append(cut_out(database.engine, lake, digits)))  # fmt: skip

    counted = Counter(call_events=len(THEIRS), sms_events=2 * len(THEIRS), owner_alerts=len(THEIRS))
    assert erased.live_rows == erased.archived_rows == counted
    assert cut == [(3 * len(THEIRS), 2)], "the lake has no number of an alert"
    others = {each for each in SPELLINGS if each not in THEIRS} | {"x"}
    live = [row for table in tables for row in database.rows(f"SELECT * FROM public.{table}")]
    files = [row for path in (tmp_path / "archive").rglob("*.parquet") for row in pq.read_table(path).to_pylist()]
    assert _numbers(live) == _numbers(files) == others
    lake_rows = [row for path in (tmp_path / "lake").rglob("*.parquet") for row in pq.read_table(path).to_pylist()]
    assert _numbers(lake_rows) == others
    for day in (OLD, NEW):
        roll_up_all(database.engine, DayRange(day, day), as_of=AS_OF, archive=archive, metrics=CUSTOMERS)
    assert _keys(database) == {each: days for each, days in before.items() if each != key}


@pytest.mark.parametrize("number", [PERSON, "+4512345678", "+442079460958"])
@settings(max_examples=400 if SOAK else 60)
@given(st.data())
def test_the_pattern_of_a_number_is_found_where_the_reference_reads_the_number(
    database: Database, number: str, data: st.DataObject
) -> None:
    """In PostgreSQL and DuckDB alike; a text that is no number at all may mention it."""
    digits = number[1:]
    parts = [digits, digits[1:], digits[:4], digits[4:], *"+012 -(", "00", "011", "whatsapp:", "\u00a0", "45", "44"]
    text = "".join(data.draw(st.lists(st.sampled_from(parts), max_size=6)))
    assume(reference.e164(text) is not None)
    pattern = spelled_pattern(digits)
    with database.engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT %s::text ~ %s", (text, pattern)).scalar_one()
    in_files = duckdb.execute("SELECT regexp_matches(?, ?)", [text, pattern]).fetchall()[0][0]
    assert found == in_files == (reference.e164(text) == number)


@pytest.mark.parametrize(
    ("text", "is_theirs"),
    [
        ("15550001111", True),
        ("sms:+15550001111", True),
        ("whatsapp:+15550001111;x", True),
        ("tel 0,15550001111.", True),
        ("call +15550001111 2 times", True),
        ("at (555) 000-1111, please", True),
        ("5550001111", True),
        ("0015550001111", True),
        ("+155500011112", False),
        ("+44 555 000 1111", False),
        ("+1 555 000 1111 2", False),
        ("555 000 11112", False),
    ],
)
def test_a_text_mentions_a_number_in_its_spellings_among_anything(
    database: Database, tmp_path: Path, text: str, *, is_theirs: bool
) -> None:
    database.run(
        "INSERT INTO public.sms_events (from_number, to_number, status, created_at, payload)"
        " VALUES ('x', 'y', 'sent', %s, jsonb_build_object('note', %s::text))", AS_OF, text,
    )  # fmt: skip
    erase(database.engine, ArchiveTarget(str(tmp_path)), PERSON, zone=reference.UTC_ZONE)
    assert database.rows("SELECT count(*) FROM public.sms_events") == [{"count": int(not is_theirs)}]
    patterns = mentioned_pattern(PERSON[1:]), hinted_pattern(PERSON[1:])
    in_files = [duckdb.execute("SELECT regexp_matches(?, ?)", [text, each]).fetchall()[0][0] for each in patterns]
    assert in_files == [is_theirs, True]
