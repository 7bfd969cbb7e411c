"""What an export writes, when it writes a day again, what it says of failures; and what others may read."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Connection

from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.engines.choice import EngineChoice
from smarttext_pipelines.engines.engine import Parameters
from smarttext_pipelines.health.lake_line import judge_lake
from smarttext_pipelines.health.verdicts import State
from smarttext_pipelines.lake.current_files import lake_files_of, lake_rows_of
from smarttext_pipelines.lake.cutting_out import cut_out
from smarttext_pipelines.lake.export import DayExported, export_days, raise_failures
from smarttext_pipelines.lake.lake_check import verify_lake
from smarttext_pipelines.lake.lake_day import Places
from smarttext_pipelines.lake.lake_target import LakeTarget
from smarttext_pipelines.metrics import Window
from smarttext_pipelines.schema.tables.source_tables import READ_COLUMNS
from smarttext_pipelines_tests.conftest import Database

DAY = date(2026, 3, 10)
NEXT = DAY + timedelta(days=1)
DAYS = DayRange(DAY, NEXT)
INSERT = (
    "INSERT INTO public.sms_events (from_number, to_number, status, created_at, payload) VALUES (%s, %s, %s, %s, %s)"
)
PERSON = "+15550001111"


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(LakeTarget(str(tmp_path / "lake")), ArchiveTarget(str(tmp_path / "archive")))


def insert(database: Database, day: date, *numbers: str, hour: int = 12) -> None:
    at = datetime(day.year, day.month, day.day, hour, tzinfo=UTC)
    for n, number in enumerate(numbers):
        database.run(INSERT, "+15550002222", number, "sent", at + timedelta(minutes=n), '{"text": "a secret word"}')


def export(database: Database, places: Places, days: DayRange = DAYS) -> list[DayExported]:
    results = export_days(database.engine, places, days)
    raise_failures(results)
    return results


def files(places: Places) -> list[Path]:
    return sorted(path for path in Path(places.lake.name).rglob("*") if path.is_file())


def test_a_file_holds_what_metrics_read_and_neither_payload_nor_text(database: Database, places: Places) -> None:
    insert(database, DAY, "+15550003333")
    export(database, places)
    (file,) = files(places)
    assert pq.read_schema(file).names == list(READ_COLUMNS["sms_events"])
    assert b"secret" not in file.read_bytes()
    assert not {"payload", "message_content", "metadata", "error_message"} & {
        c for t in READ_COLUMNS.values() for c in t
    }


def test_a_late_row_lets_its_day_alone_be_written_again(database: Database, places: Places) -> None:
    insert(database, DAY, "+15550003333")
    insert(database, NEXT, "+15550003333")
    assert [(r.day, r.rows) for r in export(database, places)] == [(DAY, 1), (NEXT, 1)]
    assert export(database, places) == []
    insert(database, DAY, "+15550004444", hour=3)
    assert [(r.day, r.rows) for r in export(database, places)] == [(DAY, 2)]
    assert export(database, places) == []


def test_a_replaced_file_stays_for_a_day_and_goes_then(database: Database, places: Places) -> None:
    insert(database, DAY, "+15550003333")
    export(database, places)
    insert(database, DAY, "+15550004444", hour=3)
    export(database, places)
    assert len(files(places)) == 2
    export(database, places)
    assert len(files(places)) == 2
    database.run("UPDATE monitoring.lake_files SET exported_at = exported_at - interval '25 hours'")
    export(database, places)
    (file,) = files(places)
    assert str(file).endswith(str(database.rows("SELECT key FROM monitoring.lake_files")[0]["key"]))


def test_a_day_whose_rows_have_gone_has_no_file(database: Database, places: Places) -> None:
    insert(database, DAY, "+15550003333")
    export(database, places)
    database.run("DELETE FROM public.sms_events")
    assert [(r.day, r.rows) for r in export(database, places)] == [(DAY, 0)]
    assert files(places) == []
    assert database.rows("SELECT * FROM monitoring.lake_files") == []


def test_usage_without_a_date_belongs_to_the_day_of_its_time(database: Database, places: Places) -> None:
    for cost, at, reset in (
        ("NaN", f"{DAY} 23:59:59.999999+00", None),
        ("1.5", "infinity", DAY),
        ("2", f"{DAY} 12:00+00", NEXT),
        ("3", f"{DAY} 12:00+00", "infinity"),
        ("4", "infinity", None),
    ):
        database.run(
            "INSERT INTO public.api_usage (service, endpoint, tokens_used, cost_estimate, created_at, reset_date)"
            " VALUES ('openai', 'chat', 1, %s, %s, %s)", cost, at, reset,
        )  # fmt: skip
    found = {r.day: r.rows for r in export(database, places)}
    assert found == {DAY: 3, NEXT: 1}
    rows = [row for file in files(places) for row in pq.read_table(file).to_pylist()]
    held = sorted((str(row["cost_estimate"]), row["created_at"] is None, str(row["reset_date"])) for row in rows)
    assert held == [
        ("1.500000", True, str(DAY)),
        ("2.000000", False, str(NEXT)),
        ("3.000000", False, "9999-12-31"),
        ("None", False, "None"),
    ]


def read_in_one_snapshot(database: Database, places: Places, connection: Connection) -> int:
    found = lake_files_of(connection, "sms_events", DAYS, place=places.lake.name)
    return sum(pq.read_table(url).num_rows for _, url in found)


def test_readers_get_the_days_that_hold_every_row_of_their_own_snapshot(database: Database, places: Places) -> None:
    insert(database, DAY, "+15550003333")
    insert(database, NEXT, "+15550003333", "+15550004444")
    export(database, places)
    with database.engine.begin() as connection:
        found = lake_files_of(connection, "sms_events", DAYS, place="s3a://bucket/lake/")
        assert [day for day, _ in found] == [DAY, NEXT]
        assert all(url.startswith(f"s3a://bucket/lake/sms_events/day={day}/") for day, url in found)
        assert lake_rows_of(connection, "sms_events", [DAY, NEXT]) == {DAY: 1, NEXT: 2}
        assert lake_files_of(connection, "sms_events", [NEXT], place="/x")[0][0] == NEXT
        assert lake_files_of(connection, "sms_events", [], place="/x") == []
        assert read_in_one_snapshot(database, places, connection) == 3
    insert(database, DAY, "+15550004444")
    with database.engine.begin() as connection:
        assert [day for day, _ in lake_files_of(connection, "sms_events", DAYS, place="/x")] == [NEXT]


def test_source_days_read_from_the_lake_are_the_rows_of_the_manifest(
    database: Database, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert(database, DAY, "+15550003333")
    insert(database, NEXT, "+15550003333", "+15550004444")
    export(database, places)
    monkeypatch.setattr("smarttext_pipelines.engines.choice.holds_most", lambda files, _window: bool(files))
    with database.engine.begin() as connection:
        window = Window(DAYS, ZoneInfo("UTC"), 4, datetime(2026, 4, 1, tzinfo=UTC))
        chosen = EngineChoice(connection, Parameters(window), None, places.lake)
        with chosen.engine_for(["sms_events"]) as engine:
            assert engine.name == "archive"
        found = {day: of_day.rows for day, of_day in chosen.source_days("sms_events").items()}
        assert found == lake_rows_of(connection, "sms_events", [DAY, NEXT]) == {DAY: 1, NEXT: 2}


def test_verify_names_a_damaged_and_a_missing_file(database: Database, places: Places) -> None:
    insert(database, DAY, "+15550003333")
    insert(database, NEXT, "+15550003333")
    export(database, places)
    assert [c.failure for c in verify_lake(database.engine, places.lake)] == [None, None]
    first, second = files(places)
    first.write_bytes(first.read_bytes()[:-1] + b"x")
    second.unlink()
    found = {c.file.day: str(c.failure) for c in verify_lake(database.engine, places.lake)}
    assert "is damaged" in found[DAY]
    assert "is missing in the lake" in found[NEXT]
    raise_failures(export_days(database.engine, places, DAYS, again=True))
    assert [c.failure for c in verify_lake(database.engine, places.lake)] == [None, None]


def test_a_manifest_that_names_a_file_of_others_removes_and_opens_nothing(database: Database, places: Places) -> None:
    insert(database, DAY, "+15550003333")
    export(database, places)
    other = Path(places.lake.name) / "precious.parquet"
    other.write_bytes(b"precious")
    database.run("UPDATE monitoring.lake_files SET key = 'precious.parquet', replaced_key = '../precious.parquet'")
    (result,) = export_days(database.engine, places, DAYS, again=True)
    assert "is not its own" in str(result.failure)
    assert other.read_bytes() == b"precious"
    (checked,) = verify_lake(database.engine, places.lake)
    assert "is not its own" in str(checked.failure)


def test_an_erased_person_is_in_no_file_of_the_lake(database: Database, places: Places) -> None:
    insert(database, DAY, "+15550003333", PERSON)
    insert(database, NEXT, PERSON)
    export(database, places)
    insert(database, DAY, "+15550004444", hour=3)
    export(database, places)
    database.run("DELETE FROM public.sms_events WHERE to_number = %s", PERSON)
    assert cut_out(database.engine, places.lake, PERSON.removeprefix("+")) == (2, 2)
    assert [row["to_number"] for file in files(places) for row in pq.read_table(file).to_pylist()] != []
    assert not [file for file in files(places) if PERSON in str(pq.read_table(file).to_pylist())]
    assert len(files(places)) == 1
    assert export(database, places) == []


def test_another_reader_finds_the_same_rows_by_the_urls(database: Database, places: Places) -> None:
    insert(database, DAY, *[f"+1555000{n:04}" for n in range(50)])
    export(database, places)
    with database.engine.begin() as connection:
        urls = [url for _, url in lake_files_of(connection, "sms_events", DAYS, place=places.lake.name)]
    found = duckdb.sql(f"SELECT count(*), min(created_at)::varchar FROM read_parquet({urls})").fetchall()
    assert found[0][0] == 50


def test_the_doctor_says_when_the_lake_is_late_or_no_longer_kept() -> None:
    now = datetime(2026, 3, 12, 8, tzinfo=UTC)
    assert judge_lake(0, None, is_kept=False, now=now) == []
    assert judge_lake(3, DAY, is_kept=False, now=now)[0].state is State.warn
    assert judge_lake(0, None, is_kept=True, now=now)[0].state is State.warn
    assert judge_lake(3, DAY, is_kept=True, now=now)[0].state is State.ok
    assert judge_lake(3, DAY - timedelta(days=1), is_kept=True, now=now)[0].state is State.warn
