"""``smarttext lake`` and the asset, as people use them."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from smarttext_pipelines.defs.lake_assets import build_event_lake, build_lake_schedule
from smarttext_pipelines.defs.partitions import build_daily_partitions
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.settings import Settings, load_settings
from smarttext_pipelines_tests.conftest import Database

DAY = date(2026, 3, 10)
DAYS = ("--from", str(DAY), "--to", str(DAY))
PERSON = "+15550001111"
pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
Smarttext = Callable[..., tuple[int, str, str]]


@pytest.fixture
def lake(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SMARTTEXT_LAKE_URL", str(tmp_path / "lake"))
    monkeypatch.setenv("SMARTTEXT_ARCHIVE_URL", str(tmp_path / "archive"))
    insert(database, DAY)
    return tmp_path / "lake"


def insert(database: Database, day: date, number: str = PERSON) -> None:
    database.run(
        "INSERT INTO public.sms_events (from_number, to_number, status, created_at) VALUES ('a', %s, 'sent', %s)",
        number, datetime(day.year, day.month, day.day, 12, tzinfo=UTC),
    )  # fmt: skip


def test_export_status_and_verify_say_what_there_is(smarttext: Smarttext, lake: Path, monkeypatch) -> None:
    assert smarttext("lake", "status")[1].startswith("nothing is exported yet; files go to /")
    assert "1 row in 1 file" in smarttext("lake", "export", *DAYS)[1]
    assert "is current" in smarttext("lake", "export", *DAYS)[1]
    (line,) = json.loads(smarttext("lake", "status", "--json")[1])
    assert (line["table"], line["files"], line["rows"], line["from"]) == ("sms_events", 1, 1, str(DAY))
    monkeypatch.setenv("SMARTTEXT_LAKE_SPARK_URL", "s3a://bucket/lake")
    (file,) = json.loads(smarttext("lake", "status", "--files", "--json")[1])
    assert file["url"].startswith(f"s3a://bucket/lake/sms_events/day={DAY}/")
    assert "1 file is as it was written" in smarttext("lake", "verify")[1]
    (path,) = lake.rglob("*.parquet")
    path.write_bytes(path.read_bytes()[:-1])
    code, _, errors = smarttext("lake", "verify")
    assert code == 1
    assert f"sms_events, {DAY}: " in errors
    assert "--again" in errors
    assert "1 row in 1 file" in smarttext("lake", "export", *DAYS, "--again")[1]
    assert smarttext("lake", "verify")[0] == 0


def test_mistakes_are_one_line(smarttext: Smarttext, lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tomorrow = str(datetime.now(UTC).date() + timedelta(days=1))
    for arguments, said in (
        (("--from", "x", "--to", str(DAY)), "is no date"),
        (("--from", str(DAY), "--to", tomorrow), "is in the future"),
        (("--from", str(DAY), "--to", "2026-03-01"), "swap the two dates"),
        ((*DAYS, "--table", "daily_stats"), "is not archived"),
    ):
        code, _, errors = smarttext("lake", "export", *arguments)
        assert (code, said in errors) == (2, True), errors
    monkeypatch.setenv("SMARTTEXT_ARCHIVE_URL", str(lake))
    assert "the same place" in smarttext("lake", "verify")[2]
    monkeypatch.setenv("SMARTTEXT_LAKE_URL", "")
    code, _, errors = smarttext("lake", "status")
    assert (code, "set SMARTTEXT_LAKE_URL" in errors) == (2, True)
    monkeypatch.setenv("SMARTTEXT_LAKE_URL", "ftp://x/y")
    assert "is no place for files" in smarttext("lake", "status")[2]


def test_erase_takes_a_person_out_of_the_lake_and_refuses_where_it_cannot(
    smarttext: Smarttext, lake: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert smarttext("lake", "export", *DAYS)[0] == 0
    monkeypatch.setenv("SMARTTEXT_LAKE_URL", "")
    code, _, errors = smarttext("erase", "--phone", PERSON, "--yes")
    assert (code, "set SMARTTEXT_LAKE_URL first; nothing was erased" in errors) == (2, True)
    assert database.rows("SELECT count(*) FROM public.sms_events") == [{"count": 1}]
    monkeypatch.setenv("SMARTTEXT_LAKE_URL", str(lake))
    code, said, _ = smarttext("erase", "--phone", PERSON, "--yes")
    assert (code, "1 row cut out of 1 file of the lake" in said) == (0, True)
    assert list(lake.rglob("*.parquet")) == []
    assert database.rows("SELECT count(*) FROM monitoring.erasures WHERE finished_at IS NOT NULL") == [{"count": 1}]


def settings_of(database: Database, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("SMARTTEXT_DATABASE_URL", database.url)
    return load_settings()


def materialize(settings: Settings, day: date) -> dg.ExecuteInProcessResult:
    asset = build_event_lake(build_daily_partitions(settings))
    return dg.materialize(
        [asset], partition_key=day.isoformat(), resources={"warehouse": Warehouse(settings)}, raise_on_error=False
    )


def test_a_late_row_is_in_the_lake_a_day_later(database: Database, lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(database, monkeypatch)
    assert materialize(settings, DAY).success
    insert(database, DAY, "+15550002222")
    result = materialize(settings, DAY + timedelta(days=1))
    assert result.success
    (event,) = result.asset_materializations_for_node("event_lake")
    assert event.metadata["earlier_days_written_again"].value == 1
    assert database.rows("SELECT day, rows FROM monitoring.lake_files") == [{"day": DAY, "rows": 2}]
    assert lake.exists()


def test_the_lake_is_off_until_its_place_is_set(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(database, monkeypatch)
    context = dg.build_schedule_context(scheduled_execution_time=datetime(2026, 3, 11, 1, 30, tzinfo=UTC))
    (skipped,) = [build_lake_schedule(settings)(context)]
    assert "SMARTTEXT_LAKE_URL is not set" in str(skipped.skip_message)
    result = materialize(settings, DAY)
    assert not result.success
    assert database.rows("SELECT * FROM monitoring.lake_files") == []
    kept = settings.model_copy(update={"lake_url": "/x"})
    assert build_lake_schedule(kept)(context).partition_key == "2026-03-10"
