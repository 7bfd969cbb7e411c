"""The command line: what it prints, and that a mistake is one line and exit code 2."""

import csv
import io
import json
import socket
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines_tests import strategies
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database
from smarttext_pipelines_tests.events import cells, replace_events, roll_up_all

DAY = date(2026, 3, 15)


def _refused(result: tuple[int, str, str], *words: str) -> None:
    code, _, errors = result
    assert code == 2
    assert "Traceback" not in errors
    assert len(errors.strip().splitlines()) == 1, errors
    for word in words:
        assert word in errors


def test_dates_that_cannot_be_used_are_refused(smarttext) -> None:
    _refused(smarttext("rollup", "--date", "tomorrow"), "no date")
    _refused(smarttext("rollup", "--date", "2099-01-01"), "in the future")
    _refused(smarttext("rollup", "--from", "2026-03-02", "--to", "2026-03-01"), "before it starts")
    _refused(smarttext("rollup", "--from", "2026-03-02"), "go together")
    _refused(smarttext("rollup", "--date", "2026-03-02", "--from", "2026-03-02"), "either")
    _refused(smarttext("rollup", "--date", "2001-01-01"), "SMARTTEXT_START_DATE")
    _refused(smarttext("digest", "--date", "0001-01-01"), "from 2000-01-01 to 2100-12-31")
    _refused(smarttext("simulate", "--end", "2099-01-01"), "in the future")
    _refused(smarttext("simulate", "--days", "99999999"), "fewer --days")


def test_settings_that_cannot_be_used_are_refused(smarttext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTTEXT_REPORTING_TIMEZONE", "Mars/Olympus")
    _refused(smarttext("stats"), "Mars/Olympus")
    monkeypatch.setenv("SMARTTEXT_REPORTING_TIMEZONE", "UTC")
    for variable, value, words in (
        ("SMARTTEXT_SETTLE_DAYS", "2", "write a whole number from 4 to 30, such as 4"),
        ("SMARTTEXT_RETENTION_DAYS", "many", "write a whole number from 11 on, such as 90"),
        ("SMARTTEXT_START_DATE", "2025", "write a date from 2000-01-01 to 2100-12-31, such as 2025-01-01"),
        ("SMARTTEXT_START_DATE", "0001-01-01", "write a date from 2000-01-01 to 2100-12-31, such as 2025-01-01"),
        ("SMARTTEXT_DIGEST_AT", "noon", "write a time of day, such as 08:00"),
        ("SMARTTEXT_RETENTION_DELETE", "perhaps", "write true or false"),
        ("SMARTTEXT_ARCHIVE_URL", "ftp://user:pass-phrase@x/y", "ftp:// is no place for files; write a directory"),
        ("SMARTTEXT_ARCHIVE_URL", "s3://", "s3:// names no bucket"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(variable, value)
            result = smarttext("stats")
            _refused(result, f"{variable}: {words}")
            assert "pass-phrase" not in result[2]


@pytest.mark.parametrize(
    "command",
    [
        ["stats"],
        ["digest"],
        ["rollup"],
        ["update-daily-stats"],
        ["cleanup"],
        ["erase", "--phone", "+15551234567", "--yes"],
        ["reset-openai"],
        ["simulate"],
        ["alerts", "evaluate"],
        ["alerts", "list"],
        ["budgets", "show"],
        ["retention", "status"],
        ["change-zone", "Asia/Tokyo"],
        ["migrate", "--check"],
    ],
    ids=" ".join,
)
def test_a_folder_without_data_is_said_and_gets_no_server(
    command: list[str], smarttext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SMARTTEXT_DATABASE_URL")
    monkeypatch.setenv("SMARTTEXT_DATA_DIR", str(tmp_path / "nothing"))
    _refused(smarttext(*command), "no data in", "SMARTTEXT_DATA_DIR")
    assert not (tmp_path / "nothing").exists()


def test_a_data_directory_that_cannot_be_used_is_said(
    smarttext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SMARTTEXT_DATABASE_URL")
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        monkeypatch.setenv("SMARTTEXT_DATA_DIR", str(place))
        _refused(smarttext("up"), "SMARTTEXT_DATA_DIR", "name another directory")
        _refused(smarttext("migrate"), "SMARTTEXT_DATA_DIR")


def test_a_database_of_dagster_that_is_not_there_is_said_before_anything_is_started(
    smarttext, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMARTTEXT_DAGSTER_DATABASE_URL", server.url("not_there"))
    for command in ("up", "rollup"):
        _refused(smarttext(command), "SMARTTEXT_DAGSTER_DATABASE_URL", "not_there", "create it")


def test_a_zone_other_than_the_stored_one_is_refused(smarttext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTTEXT_REPORTING_TIMEZONE", "Asia/Kolkata")
    _refused(smarttext("stats"), "reports in UTC", "Asia/Kolkata")
    _refused(smarttext("migrate"), "reports in UTC")


def test_a_database_that_cannot_be_reached_is_refused_without_its_password(
    smarttext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SMARTTEXT_DATABASE_URL", "postgresql://user:pass-phrase@127.0.0.1:1/none")
    result = smarttext("stats")
    _refused(result, "127.0.0.1:1/none", "SMARTTEXT_DATABASE_URL")
    assert "pass-phrase" not in result[2]
    monkeypatch.setenv("SMARTTEXT_DATABASE_URL", "mysql://user@127.0.0.1/none")
    _refused(smarttext("stats"), "postgresql://")


def test_a_database_that_was_never_migrated_is_refused(
    smarttext,
    monkeypatch: pytest.MonkeyPatch,
    server: Server,
) -> None:
    with fresh_database(server) as empty:
        monkeypatch.setenv("SMARTTEXT_DATABASE_URL", empty.url)
        for command in (["stats"], ["simulate", "--into-this-database"], ["migrate", "--check"]):
            _refused(smarttext(*command), "smarttext migrate")


def test_sample_events_stay_out_of_a_database_that_is_not_ours(smarttext, database: Database) -> None:
    _refused(smarttext("simulate", "--days", "1"), "--into-this-database")
    assert database.rows("SELECT 1 FROM public.businesses") == []
    code, out, _ = smarttext(
        "simulate", "--days", "2", "--businesses", "3", "--events-per-day", "50", "--into-this-database"
    )
    assert code == 0
    assert "sms_events" in out
    assert len(database.rows("SELECT 1 FROM public.businesses")) == 3


def test_stats_prints_the_rows_in_three_formats(smarttext, database: Database) -> None:
    replace_events(database.engine, strategies.every_peculiarity(ZoneInfo("UTC"), DAY))
    roll_up_all(database.engine, DayRange(DAY, DAY))
    rows = cells(database.engine, "daily_stats")
    code, table, _ = smarttext("stats", "--date", str(DAY))
    assert (code, table.count(str(DAY))) == (0, len(rows) + 1)
    _, out, _ = smarttext("stats", "--date", str(DAY), "--format", "json")
    assert sum(row["messages_sent"] for row in json.loads(out)) == sum(row["messages_sent"] for row in rows)
    _, out, _ = smarttext("stats", "--from", str(DAY), "--to", str(DAY), "--format", "csv")
    assert len(list(csv.DictReader(io.StringIO(out)))) == len(rows)


def test_stats_finds_a_business_by_part_of_its_name(smarttext, database: Database) -> None:
    replace_events(database.engine, strategies.every_peculiarity(ZoneInfo("UTC"), DAY))
    roll_up_all(database.engine, DayRange(DAY, DAY))
    name = database.rows("SELECT name FROM public.businesses ORDER BY id LIMIT 1")[0]["name"]
    code, out, _ = smarttext("stats", "--date", str(DAY), "--business", name, "--format", "json")
    assert {row["business"] for row in json.loads(out)} <= {name}
    assert code == 0
    _refused(smarttext("stats", "--date", str(DAY), "--business", "nobody at all"), "no business")
    _refused(smarttext("stats", "--business", "[/red]"), "no business is called '[/red]'")
    for empty in (["--business", ""], ["--date", ""]):
        _refused(smarttext("stats", *empty), "empty" if "--business" in empty else "is no date")
    _refused(smarttext("explain", "messages_sent", "--date", str(DAY)), "--unattributed")


def test_a_pipe_gets_every_column_and_a_file_of_no_row_its_header(smarttext, database: Database) -> None:
    replace_events(database.engine, strategies.every_peculiarity(ZoneInfo("UTC"), DAY))
    roll_up_all(database.engine, DayRange(DAY, DAY))
    _, table, _ = smarttext("stats", "--date", str(DAY))
    assert all(name in table for name in ("business", "missed", "known %", "OpenAI USD", "(no business)"))
    _, out, _ = smarttext("stats", "--date", "2026-01-01", "--format", "csv")
    assert out.startswith("date,business,business_id,calls_total")


def test_numbers_of_a_day_that_was_not_rolled_up_end_with_three(smarttext, database: Database) -> None:
    replace_events(database.engine, strategies.every_peculiarity(ZoneInfo("UTC"), DAY))
    roll_up_all(database.engine, DayRange(DAY, DAY))
    for command in ("stats", "digest"):
        assert smarttext(command, "--date", str(DAY))[0] == 0
        code, _, err = smarttext(command, "--date", "2026-01-01")
        assert code == 3
        assert err == "not rolled up: 2026-01-01; run `smarttext rollup --from 2026-01-01 --to 2026-01-01`\n"
    code, out, err = smarttext("stats", "--from", str(DAY), "--to", "2026-03-17", "--format", "csv")
    assert code == 3
    assert str(DAY) in out
    assert "2 of the days from 2026-03-16 to 2026-03-17" in err


def test_a_day_that_is_not_over_is_marked(smarttext, database: Database) -> None:
    now = datetime.now(UTC)
    replace_events(database.engine, {"sms_events": [strategies.sms_event(1, now - timedelta(seconds=1))]})
    roll_up_all(database.engine, DayRange(now.date(), now.date()))
    _, out, _ = smarttext("stats", "--date", str(now.date()))
    assert "the day is not over" in out


def test_migrate_names_the_rollup_to_run_next(smarttext, database: Database) -> None:
    replace_events(database.engine, strategies.every_peculiarity(ZoneInfo("UTC"), DAY))
    code, out, _ = smarttext("migrate")
    assert code == 0
    assert "smarttext rollup --from 2026-03-" in out


def test_rollup_runs_the_assets_and_records_the_run(
    smarttext,
    database: Database,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    replace_events(database.engine, strategies.every_peculiarity(ZoneInfo("UTC"), DAY))
    with fresh_database(server) as storage:
        monkeypatch.setenv("SMARTTEXT_DAGSTER_DATABASE_URL", storage.url)
        monkeypatch.setenv("SMARTTEXT_DATA_DIR", str(tmp_path))
        code, out, err = smarttext("rollup", "--from", str(DAY), "--to", str(DAY + timedelta(days=1)))
        assert code == 0, err
        told = [line for line in err.splitlines() if not line.startswith("rolling up 2026")]
        assert told == [], "the log of the run is in Dagster"
        assert "daily_stats" in out
        assert storage.rows("SELECT status FROM runs") == [{"status": "SUCCESS"}]
        assert (
            len(
                storage.rows("SELECT 1 FROM event_logs WHERE asset_key = '[\"daily_stats\"]' AND partition IS NOT NULL")
            )
            >= 2
        )
        code, _, err = smarttext("update-daily-stats", "--date", str(DAY))
        assert code == 0, err
    assert cells(database.engine, "daily_stats", DAY)


def test_a_receiver_says_that_its_port_is_taken(smarttext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "token")
    monkeypatch.setenv("SMARTTEXT_RECEIVER_URL", "https://example.com/status")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        _refused(smarttext("receiver", "--port", port), f"cannot listen on 127.0.0.1:{port}", "--port")


def test_every_command_and_option_has_help(smarttext) -> None:
    code, out, _ = smarttext("--help")
    assert code == 0
    assert "update-daily-stats" not in out
    for command in ("up", "migrate", "change-zone", "rollup", "stats", "simulate"):
        assert command in out
        assert smarttext(command, "--help")[0] == 0


@pytest.fixture
def archived(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Database:
    """Events of a day long ago, rolled up, and a place for the archive."""
    replace_events(database.engine, strategies.every_peculiarity(ZoneInfo("UTC"), DAY))
    roll_up_all(database.engine, DayRange(DAY, DAY).widen(12))
    monkeypatch.setenv("SMARTTEXT_ARCHIVE_URL", str(tmp_path / "archive"))
    return database


def _texts(database: Database) -> int:
    return int(database.rows("SELECT count(*) FROM public.sms_events")[0]["count"])


def test_retention_shows_first_then_deletes_what_it_read_back_and_restores_it(smarttext, archived: Database) -> None:
    before = _texts(archived)
    assert smarttext("retention", "status")[1].startswith("nothing is archived yet; files go to /")
    days = ("--from", "2026-03-01", "--to", "2026-03-31")
    said = smarttext("retention", "restore", "--table", "sms_events", *days)
    assert (said[0], said[1][:19], said[2]) == (0, "nothing to restore:", "")
    for command in (("retention", "run", "--dry-run"), ("cleanup", "--days", "90", "--dry-run")):
        code, shown, _ = smarttext(*command)
        assert code == 0
        assert "would be archived" in shown
        assert "2026-03-15" in shown
        assert _texts(archived) == before
    assert smarttext("retention", "run", "--table", "owner_alerts")[0] == 0
    assert _texts(archived) == before
    code, shown, _ = smarttext("retention", "run")
    assert code == 0
    assert _texts(archived) == 1
    code, shown, _ = smarttext("retention", "status")
    assert "sms_events" in shown
    assert "deleted" in shown
    assert "6 files are as they were" in smarttext("retention", "verify")[1]
    code, shown, _ = smarttext(
        "retention", "restore", "--table", "sms_events", "--from", "2026-03-01", "--to", "2026-03-31"
    )
    assert (code, _texts(archived)) == (0, before)
    assert "17 rows of 3 days" in shown
    code, shown, _ = smarttext("retention", "run", "--dry-run")
    assert "restored, stays until" in shown


def test_retention_refuses_what_it_must_not_do(smarttext, archived: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    _refused(smarttext("retention", "run", "--days", "10"), "at least 11 days")
    _refused(smarttext("retention", "run", "--dry-run", "--days", "99999999999"), "at most 36,500 days")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    _refused(smarttext("erase", "--phone", "+15551234567"), "say --yes")
    _refused(smarttext("retention", "run", "--table", "daily_stats"), "is not archived")
    _refused(
        smarttext("retention", "restore", "--table", "x", "--from", "2026-03-01", "--to", "2026-03-02"), "not archived"
    )
    monkeypatch.delenv("SMARTTEXT_ARCHIVE_URL")
    before = _texts(archived)
    for command in (("retention", "run"), ("retention", "run", "--dry-run"), ("cleanup", "--dry-run")):
        _refused(smarttext(*command), "set SMARTTEXT_ARCHIVE_URL", "only holder")
    assert "set SMARTTEXT_ARCHIVE_URL before" in smarttext("retention", "status")[1]
    assert _texts(archived) == before
    monkeypatch.setenv("SMARTTEXT_ARCHIVE_URL", "nonsense://bucket")
    _refused(smarttext("retention", "run"), "SMARTTEXT_ARCHIVE_URL", "nonsense")


def test_rows_without_a_day_are_archived_and_restored_when_asked(smarttext, archived: Database) -> None:
    count = "SELECT count(*) FROM public.sms_events WHERE created_at IS NULL"
    before = archived.rows(count)[0]["count"]
    assert before > 0
    code, shown, _ = smarttext("retention", "run", "--undated", "--dry-run")
    assert code == 0
    assert "undated" in shown
    assert archived.rows(count)[0]["count"] == before
    assert smarttext("retention", "run", "--undated")[0] == 0
    assert archived.rows(count)[0]["count"] == 0
    assert "undated" in smarttext("retention", "status")[1]
    assert "every row has a day" in smarttext("retention", "run", "--undated")[1]
    assert "live again" in smarttext("retention", "restore", "--table", "sms_events", "--undated")[1]
    assert archived.rows(count)[0]["count"] == before
    assert "undated, is missing" in smarttext("retention", "restore", "--table", "sms_events", "--undated")[1]
    _refused(smarttext("retention", "run", "--undated", "--days", "90"), "either --undated or --days")
    for options in ((), ("--undated", "--from", "2026-03-01"), ("--from", "2026-03-01")):
        said = smarttext("retention", "restore", "--table", "sms_events", *options)
        _refused(said, "--from and --to, or --undated")
