"""Erasing a person: no row, file, record or number of theirs is left; everybody else's stays as it was."""

import errno
import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from smarttext_pipelines.archive.files import ArchivedRows
from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import ArchiveError, DamagedFileError, InputError
from smarttext_pipelines.retention import erase as module
from smarttext_pipelines.retention.erase import erase
from smarttext_pipelines.retention.manifest_check import raise_damage, scrub
from smarttext_pipelines.retention.restore import restore
from smarttext_pipelines.retention.run import Retention, archive_days, raise_failures
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import cells, roll_up_all
from smarttext_pipelines_tests.retention.test_retention_faults import FaultyTarget

UTC_ZONE = ZoneInfo("UTC")
OLD, NEW = date(2026, 3, 15), datetime.now(UTC).date() - timedelta(days=20)
PERSON, LONGER, OTHER, BUSINESS = "+15550001111", "+155500011112", "+15550002222", "+15550009999"
AS_OF = datetime.now(UTC)


@pytest.fixture
def archive(tmp_path: Path) -> ArchiveTarget:
    return ArchiveTarget(str(tmp_path / "archive"))


@pytest.fixture
def loaded(database: Database, archive: ArchiveTarget) -> Database:
    """Two days with the same events of a person, of one whose number begins alike, and of another; one is archived."""
    database.run("INSERT INTO public.businesses (id, name, twilio_phone) VALUES (md5('b')::uuid, 'B', %s)", BUSINESS)
    for day in (OLD, NEW):
        at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
        for phone in (PERSON, LONGER, OTHER):
            database.run(
                "INSERT INTO public.sms_events (from_number, to_number, status, message_sid, created_at, payload)"
                " VALUES (%s, %s, 'delivered', gen_random_uuid()::text, %s, '{}'), (%s, 'x', 'received', '', %s, '{}'),"
                " (%s, 'x', 'sent', gen_random_uuid()::text, %s, jsonb_build_object('to', 'sms:' || %s))",
                BUSINESS, phone, at, phone, at, BUSINESS, at, phone,
            )  # fmt: skip
            database.run(
                "INSERT INTO public.call_events (from_number, event_type, ts) VALUES (%s, 'voice.missed', %s)",
                phone,
                at,
            )
            database.run(
                "INSERT INTO public.owner_alerts (business_id, owner_phone, customer_phone, alert_type,"
                " message_content, created_at) VALUES"
                " (md5('b')::uuid, 'o', 'c', 'custom', 'call ' || %s || ' back', %s)",
                phone, at,
            )  # fmt: skip
            database.run(
                "INSERT INTO public.api_usage (service, endpoint, reset_date, created_at, metadata) VALUES"
                " ('openai', 'e', %s, %s, jsonb_build_object('from', %s::text))", day, at, phone,
            )  # fmt: skip
    _roll_up(database, None)
    retention = Retention(UTC_ZONE, 4, 90, deletes=True)
    raise_failures(archive_days(database.engine, archive, retention, done=lambda _d: None, begun=lambda _n: None))
    return database


def _roll_up(database: Database, archive: ArchiveTarget | None) -> list[date]:
    """Return the days of which a metric kept its numbers."""
    ranges = [DayRange(day, day + timedelta(days=8)) for day in (OLD, NEW)]
    done = [roll_up_all(database.engine, days, as_of=AS_OF, archive=archive) for days in ranges]
    return [day for metrics in done for rolled_up in metrics.values() for day in rolled_up.kept]


def _texts(database: Database, folder: Path) -> str:
    """Everything that is readable anywhere."""
    tables = ["sms_events", "call_events", "api_usage", "owner_alerts"]
    monitoring = ["sms_outcomes", "archive_segments", "erasures", "rollup_requests"]
    names = [*(f"public.{t}" for t in tables), *(f"monitoring.{t}" for t in monitoring)]
    live = [str(database.rows(f"SELECT t::text FROM {name} AS t")) for name in names]
    files = [str(pq.read_table(path).to_pylist()) for path in folder.rglob("*") if path.is_file()]
    return " ".join([*live, *files])


def _is_named(text: str, phone: str) -> bool:
    return any(f"{phone}{end}" in text for end in ("'", '"', ",", " ", ")", "}"))


def test_nothing_of_a_person_is_left_and_everybody_else_stays(
    loaded: Database, archive: ArchiveTarget, tmp_path: Path
) -> None:
    assert _is_named(_texts(loaded, tmp_path / "archive"), PERSON)
    erased = erase(loaded.engine, archive, PERSON, zone=UTC_ZONE)
    assert erased.live_rows == erased.archived_rows == {
        "sms_events": 3, "call_events": 1, "api_usage": 1, "owner_alerts": 1}  # fmt: skip
    text = _texts(loaded, tmp_path / "archive")
    assert not _is_named(text, PERSON)
    assert _is_named(text, LONGER)
    assert _is_named(text, OTHER)
    raise_damage(scrub(loaded.engine, archive))
    (record,) = loaded.rows("SELECT * FROM monitoring.erasures")
    assert record["finished_at"]
    assert record["archived_rows"] == dict(erased.archived_rows)
    requested = {row["row_day"] for row in loaded.rows("SELECT row_day FROM monitoring.rollup_requests")}
    assert requested == {OLD, NEW}
    assert _roll_up(loaded, archive) == [], "the days are computed without the person, and none keeps its numbers"
    sent = {row["date"]: row["messages_sent"] for row in cells(loaded.engine, "daily_stats") if row["business_id"]}
    assert set(sent.values()) == {4}
    for table in ("sms_events", "call_events"):
        restore(loaded.engine, archive, table, DayRange(OLD, OLD))
    assert loaded.rows("SELECT count(*) FROM public.sms_events") == [{"count": 12}]


def test_an_interrupted_erasure_is_finished_by_the_next(
    loaded: Database, archive: ArchiveTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = module.remove_files, []

    def fail(*arguments: object) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            message = "the power failed"
            raise ArchiveError(message)
        original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "remove_files", fail)
    with pytest.raises(ArchiveError):
        erase(loaded.engine, archive, PERSON, zone=UTC_ZONE)
    monkeypatch.setattr(module, "remove_files", original)
    assert loaded.rows("SELECT count(*) FROM monitoring.erasures WHERE finished_at IS NULL") == [{"count": 1}]
    assert _is_named(_texts(loaded, tmp_path / "archive"), PERSON)
    erase(loaded.engine, archive, PERSON, zone=UTC_ZONE)
    assert not _is_named(_texts(loaded, tmp_path / "archive"), PERSON)
    raise_damage(scrub(loaded.engine, archive))


def test_what_is_no_person_is_refused(loaded: Database, archive: ArchiveTarget) -> None:
    for phone in ("0755500011", "anonymous", "+266696687", "+1 555 000 1111, +1 555 000 2222", "%", ""):
        with pytest.raises(InputError, match="with a plus and its country"):
            erase(loaded.engine, archive, phone, zone=UTC_ZONE)
    loaded.run("UPDATE public.businesses SET twilio_phone = '(555) 000-9999', public_phone = '001 555 000 8888'")
    for phone, shared in ((BUSINESS, ""), ("5550008888", ""), (OTHER, "whatsapp:15550002222")):
        with pytest.raises(InputError, match="number of a business"):
            erase(loaded.engine, archive, phone, zone=UTC_ZONE, shared_senders=[shared])
    assert loaded.rows("SELECT count(*) FROM monitoring.erasures") == [{"count": 0}]


def test_rows_that_were_restored_stay_for_as_long_as_was_asked_although_their_files_went(
    loaded: Database, archive: ArchiveTarget
) -> None:
    restore(loaded.engine, archive, "sms_events", DayRange(OLD, OLD))
    erase(loaded.engine, archive, PERSON, zone=UTC_ZONE)
    _roll_up(loaded, archive)
    retention = Retention(UTC_ZONE, 4, 90, deletes=True, tables=["sms_events"])
    (done,) = archive_days(loaded.engine, archive, retention, done=lambda _d: None, begun=lambda _n: None)
    assert done.waits
    assert done.waits.startswith("restored, stays until")


def test_an_erasure_that_cannot_read_or_write_loses_nothing_and_does_not_say_it_is_done(
    loaded: Database, archive: ArchiveTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = (tmp_path / "archive").rglob("sms_events/*/*.parquet")
    content, find = path.read_bytes(), ArchivedRows.about
    read_only = FaultyTarget(str(tmp_path / "archive"), errno.EROFS, "wb", after=0)

    def find_and_spoil(archived: ArchivedRows, digits: str) -> object:
        found = find(archived, digits)
        if archived.shape.table == "sms_events":
            rows = pq.read_table(path)
            place = rows.column_names.index("status")
            pq.write_table(rows.set_column(place, "status", pa.array(["spoilt"] * len(rows))), path)
        return found

    with pytest.raises(ArchiveError, match=os.strerror(errno.EROFS)):
        erase(loaded.engine, read_only, PERSON, zone=UTC_ZONE)
    monkeypatch.setattr(ArchivedRows, "about", find_and_spoil)
    with pytest.raises(DamagedFileError, match="not those that were verified"):
        erase(loaded.engine, archive, PERSON, zone=UTC_ZONE)
    monkeypatch.undo()
    with pytest.raises(DamagedFileError, match="is damaged: its SHA-256"):
        erase(loaded.engine, archive, PERSON, zone=UTC_ZONE)
    assert loaded.rows("SELECT count(*) FROM monitoring.erasures WHERE finished_at IS NOT NULL") == [{"count": 0}]
    path.write_bytes(content)
    erase(loaded.engine, archive, PERSON, zone=UTC_ZONE)
    raise_damage(scrub(loaded.engine, archive))
    text = _texts(loaded, tmp_path / "archive")
    assert not _is_named(text, PERSON)
    assert "spoilt" not in text
    assert text.count(OTHER) == text.count(LONGER) > 0
