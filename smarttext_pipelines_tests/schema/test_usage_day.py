"""An application that counts its usage by the day of UTC goes on to find every row, whatever zone is reported in."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from smarttext_pipelines import tracking
from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.budgets.ledger_findings import counter_differences
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.explain import explain_column
from smarttext_pipelines.explain.column import window_of
from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines.retention.candidates import why_not
from smarttext_pipelines.retention.erase import erase
from smarttext_pipelines.retention.run import Retention, archive_days, raise_failures
from smarttext_pipelines.rollup.drift import changed_days
from smarttext_pipelines.rollup.quality import undated_rows
from smarttext_pipelines.rollup.zone import change_reporting_zone
from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines.schema.script import migration_sql
from smarttext_pipelines_tests.conftest import Database, soak_cases
from smarttext_pipelines_tests.events import cells, roll_up_all
from smarttext_pipelines_tests.guardrail import COUNTER, LEDGER, RESERVE, SETTLE, reap
from smarttext_pipelines_tests.legacy import DAYS, add_history, clean_up, install_legacy

TOKYO, LOS_ANGELES, UTC_ZONE = ZoneInfo("Asia/Tokyo"), ZoneInfo("America/Los_Angeles"), ZoneInfo("UTC")
ZONES = [UTC_ZONE, TOKYO, LOS_ANGELES]
MIDNIGHT = datetime(2026, 3, 10, tzinfo=UTC)
HOURS = [MIDNIGHT + timedelta(hours=n, minutes=59, seconds=59) for n in range(24)]
BUSINESS = UUID("00000000-0000-4000-8000-000000000001")
DEFAULT = """
SELECT pg_get_expr(adbin, adrelid) AS said FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
WHERE adrelid = 'public.api_usage'::regclass AND attname = 'reset_date'
"""
APPLICATION_INSERTS = """
INSERT INTO public.api_usage (service, endpoint, business_id, tokens_used, cost_estimate, model)
VALUES ('openai', 'chat', %s, %s, 0.01, 'gpt-4o-mini')
"""
# The same statement, as its two defaults would have filled it at that instant on a server in UTC.
APPLICATION_INSERTED = """
INSERT INTO public.api_usage
    (service, endpoint, business_id, tokens_used, cost_estimate, model, created_at, reset_date)
SELECT 'openai', 'chat', %s, %s, 0.01, 'gpt-4o-mini', at, (at AT TIME ZONE 'UTC')::date
FROM CAST(%s AS timestamptz) AS at
"""
APPLICATION_SUMS = """
SELECT coalesce(sum(tokens_used), 0)::int AS used FROM public.api_usage
WHERE service = 'openai' AND business_id = %s AND reset_date = (%s::timestamptz AT TIME ZONE 'UTC')::date
"""


def install(database: Database, zone: ZoneInfo) -> Database:
    """Adopt the application's database, in which a business has used nothing yet."""
    install_legacy(database, on_supabase=False)
    database.run("INSERT INTO public.businesses (id, name) VALUES (%s, 'B')", BUSINESS)
    migrate(database.engine, zone)
    return database


def adopted(database: Database, zone: ZoneInfo) -> Database:
    """Make a migrated database one that was adopted; quicker than ``install``."""
    database.run("INSERT INTO public.businesses (id, name) VALUES (%s, 'B')", BUSINESS)
    database.run("ALTER TABLE public.api_usage ALTER COLUMN reset_date SET DEFAULT current_date")
    database.run("UPDATE monitoring.installation SET reporting_timezone = %s, reset_date_zone = 'UTC'", zone.key)
    return database


def clock_is(database: Database, at: datetime) -> None:
    """Let the guardrail take an instant for the present, and reservations begin then."""
    database.run(
        "CREATE OR REPLACE FUNCTION monitoring.today() RETURNS date LANGUAGE sql VOLATILE SECURITY DEFINER "
        f"SET search_path = '' AS $$ SELECT monitoring.reporting_day('{at.isoformat()}') $$"
    )


def reserve(database: Database, request: str, tokens: int, at: datetime) -> None:
    clock_is(database, at)
    assert database.rows(RESERVE, BUSINESS, tokens, request)[0]["allowed"]
    database.run("UPDATE monitoring.openai_reservations SET reserved_at = %s WHERE request_id = %s", at, request)


def used(database: Database, at: datetime) -> int:
    return int(database.rows(APPLICATION_SUMS, BUSINESS, at)[0]["used"])


def roll_up_spend(database: Database, zone: ZoneInfo, days: DayRange, **options: Any) -> None:
    roll_up_all(database.engine, days, zone=zone.key, metrics={"spend": METRICS["spend"]}, **options)


def spent(database: Database, zone: ZoneInfo, *days: date, **options: Any) -> dict[date, int]:
    """Return the tokens of each day by a rollup of now."""
    roll_up_spend(database, zone, DayRange(min(days), max(days)), **options)
    tokens: Counter[date] = Counter()
    for row in cells(database.engine, "spend"):
        tokens[row["day"]] += row["tokens_used"]
    return dict(tokens)


DEFAULTS = (
    "current_date", "(now() at time zone 'utc')::date", "timezone('utc', now())::date", "'2026-01-01'", None,
)  # fmt: skip


@pytest.mark.parametrize(
    ("default", "zone"),
    soak_cases(
        [(default, zone) for default in DEFAULTS for zone in ZONES],
        short=[(default, ZONES[n % 3]) for n, default in enumerate(DEFAULTS)],
    ),
    ids=str,
)
def test_the_default_of_a_table_that_the_application_made_stays_as_it_was_found(
    empty_database: Database, zone: ZoneInfo, default: str | None
) -> None:
    install_legacy(empty_database, on_supabase=False)
    add_history(empty_database)
    change = f"SET DEFAULT {default}" if default else "DROP DEFAULT"
    empty_database.run(f"ALTER TABLE public.api_usage ALTER COLUMN reset_date {change}")
    before = empty_database.rows(DEFAULT)
    for _ in range(2):
        migrate(empty_database.engine, zone)
        assert empty_database.rows(DEFAULT) == before
    change_reporting_zone(empty_database.engine, ZoneInfo("Asia/Kolkata"))
    assert empty_database.rows(DEFAULT) == before
    assert empty_database.rows("SELECT reset_date_zone FROM monitoring.installation") == [{"reset_date_zone": "UTC"}]


def test_a_default_that_names_a_zone_says_whose_days_the_application_counts(empty_database: Database) -> None:
    install_legacy(empty_database, on_supabase=False)
    empty_database.run(
        "ALTER TABLE public.api_usage ALTER COLUMN reset_date SET DEFAULT (now() AT TIME ZONE 'asia/tokyo')::date"
    )
    migrate(empty_database.engine, LOS_ANGELES)
    assert empty_database.rows("SELECT reset_date_zone, monitoring.usage_date('2026-03-10 15:00Z') AS day"
                               " FROM monitoring.installation") == [
        {"reset_date_zone": "Asia/Tokyo", "day": date(2026, 3, 11)}
    ]  # fmt: skip


def test_a_table_of_ours_has_the_reporting_day(empty_database: Database) -> None:
    for _ in range(2):
        migrate(empty_database.engine, TOKYO)
        assert empty_database.rows("SELECT reset_date_zone AS zone FROM monitoring.installation") == [{"zone": None}]
        (row,) = empty_database.rows(DEFAULT)
        assert "Asia/Tokyo" in row["said"]


def test_the_printed_statements_leave_the_default_too(empty_database: Database) -> None:
    install_legacy(empty_database, on_supabase=False)
    before = empty_database.rows(DEFAULT)
    (statement,) = [s for s in migration_sql(TOKYO).split(";\n") if "INTO monitoring.installation" in s]
    empty_database.run("CREATE SCHEMA monitoring")
    empty_database.run("CREATE TABLE monitoring.installation (reporting_timezone text, reset_date_zone text)")
    empty_database.run(
        "CREATE TABLE monitoring.adoption_record AS"
        " SELECT 'adoption' AS occasion, 'table' AS kind, 'api_usage' AS object"
    )
    empty_database.run(statement.strip())
    assert empty_database.rows("SELECT * FROM monitoring.installation") == [
        {"reporting_timezone": "Asia/Tokyo", "reset_date_zone": "UTC"}
    ]
    assert empty_database.rows(DEFAULT) == before


@pytest.mark.parametrize("zone", ZONES, ids=str)
def test_the_sum_of_the_application_holds_what_it_inserts_now_before_and_after_migrate(
    empty_database: Database, zone: ZoneInfo
) -> None:
    empty_database.run(f"ALTER DATABASE {empty_database.name} SET timezone = 'UTC'")
    install_legacy(empty_database, on_supabase=False)
    empty_database.run("INSERT INTO public.businesses (id, name) VALUES (%s, 'B')", BUSINESS)
    now = datetime.now(UTC)
    empty_database.run(APPLICATION_INSERTS, BUSINESS, 1)
    seen = [used(empty_database, now)]
    migrate(empty_database.engine, zone)
    for tokens in (10, 100):
        empty_database.run(APPLICATION_INSERTS, BUSINESS, tokens)
        seen.append(used(empty_database, now))
    assert seen == [1, 11, 111] or datetime.now(UTC).date() > now.date()


@pytest.mark.parametrize("zone", soak_cases(ZONES, short=[TOKYO, LOS_ANGELES]), ids=str)
def test_the_sum_of_the_application_holds_every_row_of_its_day_at_every_hour(
    empty_database: Database, zone: ZoneInfo, tmp_path: Path
) -> None:
    database = install(empty_database, zone)
    expected: dict[date, int] = {}
    tracking.configure(database_url=database.url, spill_folder=tmp_path)
    for n, at in enumerate(HOURS):
        clock_is(database, at)
        seen = used(database, at)
        database.run(APPLICATION_INSERTED, BUSINESS, 1000, at)
        assert used(database, at) == seen + 1000, "its own statement"
        tracking.track_openai_usage(endpoint="chat", tokens_used=100, business_id=BUSINESS, occurred_at=at)
        assert tracking.flush(10)
        assert used(database, at) == seen + 1100, "the library"
        reserve(database, f"settled-{n}", 10, at)
        database.rows(SETTLE, f"settled-{n}", 10, None)
        assert used(database, at) == seen + 1110, "a settlement"
        reserve(database, f"reaped-{n}", 1, at)
        reap(database)
        assert used(database, at) == seen + 1111, "the reaper"
        assert database.rows(COUNTER) == database.rows(LEDGER) != []
        day = at.astimezone(zone).date()
        expected[day] = expected.get(day, 0) + 1111
    with database.engine.connect() as connection:
        assert counter_differences(connection) == []
    counted = database.rows(
        "SELECT day, used_tokens::int AS tokens FROM monitoring.openai_budgets WHERE used_tokens > 0"
    )
    assert {row["day"]: row["tokens"] for row in counted} == expected
    assert spent(database, zone, *expected) == expected


@pytest.mark.parametrize("end", [lambda d: d.rows(SETTLE, "one", 90, None), reap], ids=["settled", "reaped"])
@pytest.mark.parametrize(
    ("zone", "at"),
    [
        (TOKYO, datetime(2026, 3, 10, 14, 59, 59, tzinfo=UTC)),
        (LOS_ANGELES, datetime(2026, 3, 10, 6, 59, 59, tzinfo=UTC)),
    ],
    ids=str,
)
def test_the_day_is_that_of_the_reservation_also_after_midnight(
    database: Database, zone: ZoneInfo, at: datetime, end: Callable[[Database], object]
) -> None:
    adopted(database, zone)
    reserve(database, "one", 90, at)
    # The clock was read twice at the reservation, the second time after midnight.
    database.run("UPDATE monitoring.openai_reservations SET reserved_at = reserved_at + interval '2 seconds'")
    clock_is(database, at + timedelta(seconds=3))
    end(database)
    day = at.astimezone(zone).date()
    assert database.rows("SELECT day, used_tokens::int, reserved_tokens::int FROM monitoring.openai_budgets") == [
        {"day": day, "used_tokens": 90, "reserved_tokens": 0}
    ]
    assert database.rows(COUNTER) == database.rows(LEDGER)
    assert spent(database, zone, day, day + timedelta(days=1)) == {day: 90}


def test_another_reporting_zone_counts_by_time_and_leaves_the_dates(empty_database: Database) -> None:
    database = install(empty_database, UTC_ZONE)
    recent = datetime.now(UTC).replace(hour=12) - timedelta(days=2)
    for n in range(-24, 24):
        database.run(APPLICATION_INSERTED, BUSINESS, 1, recent + timedelta(hours=n))
    dates = database.rows("SELECT id, reset_date FROM public.api_usage ORDER BY id")
    days = [recent.date() + timedelta(days=n) for n in (-2, -1, 0, 1, 2)]
    for zone in (UTC_ZONE, TOKYO, LOS_ANGELES, UTC_ZONE):
        change_reporting_zone(database.engine, zone)
        expected: dict[date, int] = {}
        for n in range(-24, 24):
            day = (recent + timedelta(hours=n)).astimezone(zone).date()
            expected[day] = expected.get(day, 0) + 1
        assert spent(database, zone, *days) == expected
        assert database.rows(COUNTER) == database.rows(LEDGER)
        assert {row["day"]: int(row["tokens"]) for row in database.rows(COUNTER)} == {
            str(d): n for d, n in expected.items()
        }
    assert database.rows("SELECT id, reset_date FROM public.api_usage ORDER BY id") == dates


def test_what_explains_a_day_is_what_it_counted(database: Database) -> None:
    adopted(database, TOKYO)
    for at in HOURS:
        database.run(APPLICATION_INSERTED, BUSINESS, 1, at)
    for day in (date(2026, 3, 9), date(2026, 3, 10), date(2026, 3, 11)):
        with database.engine.connect() as connection:
            window = window_of(day, TOKYO, 4, datetime.now(UTC), 5)
            rows = explain_column(connection, "openai_tokens_used", BUSINESS, window)
        assert len(rows) == spent(database, TOKYO, day).get(day, 0) == {9: 0, 10: 15, 11: 9}[day.day]


@pytest.mark.parametrize(("created_at", "undated"), [("2026-03-10", 0), ("1970-01-01", 1), ("infinity", 1), (None, 1)])
def test_an_infinite_date_beside_a_true_time_is_not_undated(
    database: Database, created_at: str | None, undated: int
) -> None:
    adopted(database, TOKYO)
    database.run(
        "INSERT INTO public.api_usage (service, endpoint, created_at, reset_date)"
        " VALUES ('openai', 'e', %s, 'infinity')",
        created_at,
    )
    with database.engine.connect() as connection:
        assert undated_rows(connection, "api_usage", TOKYO) == undated


# Archive: its unit is the date


DAY = date(2026, 3, 10)
LATE = datetime(2026, 3, 10, 20, tzinfo=UTC)
"""Of the date DAY, and of the day after it in Tokyo."""


@pytest.fixture
def archive(tmp_path: Path) -> ArchiveTarget:
    return ArchiveTarget(str(tmp_path / "archive"))


def retain(database: Database, archive: ArchiveTarget, zone: ZoneInfo) -> None:
    retention = Retention(zone, 4, 90, deletes=True, tables=["api_usage"])
    raise_failures(archive_days(database.engine, archive, retention, done=lambda _d: None, begun=lambda _n: None))


def live(database: Database) -> int:
    return int(database.rows("SELECT count(*) FROM public.api_usage")[0]["count"])


def test_a_date_is_archived_only_when_every_day_that_it_touches_is_rolled_up(
    database: Database, archive: ArchiveTarget
) -> None:
    adopted(database, TOKYO)
    database.run(APPLICATION_INSERTED, BUSINESS, 1, LATE)

    def waits() -> str | None:
        return why_not(database.engine, archive, "api_usage", DAY, zone=TOKYO, settle_days=4)

    around = DayRange(DAY, DAY).widen(6)
    roll_up_spend(database, TOKYO, around)
    database.run("DELETE FROM monitoring.rollup_days WHERE row_day = %s", DAY + timedelta(days=1))
    assert "2026-03-11 was never rolled up" in str(waits())
    roll_up_spend(database, TOKYO, around)
    assert waits() is None
    database.run(APPLICATION_INSERTED, BUSINESS, 1, LATE)
    assert "1 row of 2026-03-11 is not rolled up" in str(waits())
    retain(database, archive, TOKYO)
    assert live(database) == 2
    roll_up_spend(database, TOKYO, around)
    retain(database, archive, TOKYO)
    assert live(database) == 0


@pytest.mark.parametrize("zone", [TOKYO, LOS_ANGELES], ids=str)
def test_days_give_the_same_when_their_dates_are_archived_one_after_the_other(
    database: Database, archive: ArchiveTarget, zone: ZoneInfo
) -> None:
    adopted(database, zone)
    days = DayRange(DAY, DAY).widen(8)
    for n in range(-48, 72):
        database.run(APPLICATION_INSERTED, BUSINESS, 100 + n, MIDNIGHT + timedelta(hours=n))
    # Written months after its date, as a writer does that sets both columns itself.
    database.run(APPLICATION_INSERTED, BUSINESS, 7, LATE)
    database.run("UPDATE public.api_usage SET reset_date = '2026-01-05' WHERE tokens_used = 7")
    roll_up_spend(database, zone, DayRange(date(2026, 1, 5), date(2026, 1, 9)))
    expected = spent(database, zone, *days)
    assert sum(expected.values()) == sum(100 + n for n in range(-48, 72)) + 7
    before, left = live(database), []
    for last in (date(2026, 1, 5), *DayRange(DAY, DAY).widen(3)):
        retention_days = (datetime.now(UTC).date() - last).days - 1
        retention = Retention(zone, 4, retention_days, deletes=True, tables=["api_usage"])
        raise_failures(archive_days(database.engine, archive, retention, done=lambda _d: None, begun=lambda _n: None))
        left.append(live(database))
        assert spent(database, zone, *days, archive=archive) == expected
        with database.engine.begin() as connection:
            assert changed_days(connection, days, zone, archive) == []
    for day in DayRange(DAY, DAY).widen(2):
        assert spent(database, zone, day, archive=archive) == expected
    assert (left[0], left[-1]) == (before, 0), "a date waits until the last of its days is old enough"
    assert len(set(left)) > 4


def test_a_date_with_a_row_of_an_open_day_is_not_old_enough(database: Database, archive: ArchiveTarget) -> None:
    adopted(database, TOKYO)
    now = datetime.now(UTC)
    days = DayRange(now.date() - timedelta(days=20), now.date() + timedelta(days=1))
    database.run(APPLICATION_INSERTED, BUSINESS, 5, now - timedelta(days=6))
    database.run("UPDATE public.api_usage SET reset_date = %s", days.first)
    roll_up_spend(database, TOKYO, days)
    retention = Retention(TOKYO, 4, 12, deletes=True, tables=["api_usage"])
    raise_failures(archive_days(database.engine, archive, retention, done=lambda _d: None, begun=lambda _n: None))
    assert live(database) == 1
    assert database.rows(COUNTER) == database.rows(LEDGER) != []


def test_erasing_takes_rows_from_the_days_that_counted_them(database: Database, archive: ArchiveTarget) -> None:
    adopted(database, TOKYO)
    days = DayRange(DAY, DAY).widen(6)
    for number in ("+15550001111", "+15550002222"):
        for at in (LATE, LATE + timedelta(days=1)):
            database.run(APPLICATION_INSERTED, BUSINESS, 1, at)
            database.run("UPDATE public.api_usage SET metadata = %s WHERE metadata = '{}'", f'{{"from": "{number}"}}')
    spent(database, TOKYO, *days)
    database.run("CREATE TABLE kept AS SELECT * FROM public.api_usage WHERE reset_date > %s", DAY)
    database.run("DELETE FROM public.api_usage WHERE reset_date > %s", DAY)
    retain(database, archive, TOKYO)
    assert live(database) == 0
    database.run("INSERT INTO public.api_usage SELECT * FROM kept")
    erase(database.engine, archive, "+15550001111", zone=TOKYO)
    recorded = database.rows(
        "SELECT row_day, rows::int FROM monitoring.rollup_days WHERE table_name = 'api_usage' AND rows > 0 ORDER BY 1"
    )
    assert [tuple(row.values()) for row in recorded] == [(date(2026, 3, 11), 1), (date(2026, 3, 12), 1)]
    assert spent(database, TOKYO, *days, archive=archive) == {date(2026, 3, 11): 1, date(2026, 3, 12): 1}


# Adoption


@pytest.mark.parametrize(
    ("zone", "before", "boundary"),
    [
        (TOKYO, "2026-03-05 12:00Z", date(2026, 3, 5)),
        (TOKYO, "2026-03-05 18:00Z", date(2026, 3, 6)),
        (LOS_ANGELES, "2026-03-05 06:00Z", date(2026, 3, 4)),
        (LOS_ANGELES, "2026-03-05 12:00Z", date(2026, 3, 5)),
    ],
    ids=str,
)
def test_the_first_day_whose_usage_was_partly_deleted_keeps_its_numbers(
    empty_database: Database, zone: ZoneInfo, before: str, boundary: date
) -> None:
    install_legacy(empty_database, on_supabase=False)
    add_history(empty_database)
    clean_up(empty_database, before)
    migrate(empty_database.engine, zone)
    found = empty_database.rows("SELECT row_day, rows::int FROM monitoring.rollup_days WHERE table_name = 'api_usage'")
    assert [row["row_day"] for row in found] == [boundary]
    kept = roll_up_all(empty_database.engine, DAYS, zone=zone.key)["daily_stats"].kept
    assert boundary in kept


@pytest.mark.parametrize("zone", [TOKYO, LOS_ANGELES], ids=str)
def test_usage_that_is_all_there_is_computed_anew_on_every_day(empty_database: Database, zone: ZoneInfo) -> None:
    install_legacy(empty_database, on_supabase=False)
    add_history(empty_database)
    migrate(empty_database.engine, zone)
    assert empty_database.rows("SELECT FROM monitoring.rollup_days WHERE table_name = 'api_usage'") == []
