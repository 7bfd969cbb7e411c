"""A database that the application has used for long is adopted: no row lost, nothing doubled, history kept."""

from collections import Counter
from collections.abc import Iterator
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from smarttext_pipelines.core.errors import DatabaseError
from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines.rollup.write import RolledUp
from smarttext_pipelines.schema.migrate import find_drift, migrate
from smarttext_pipelines.schema.rights.roles import FUNCTIONS
from smarttext_pipelines_tests.conftest import Copied, Database
from smarttext_pipelines_tests.events import roll_up_all
from smarttext_pipelines_tests.legacy import (
    DAYS,
    EVENT_TABLES,
    TABLES,
    VIEWS,
    add_history,
    catalog,
    clean_up,
    install_legacy,
    owned_database,
    rows_of,
)

UTC = ZoneInfo("UTC")
BOUNDARY = date(2026, 3, 5)


@pytest.fixture(params=["supabase", "plain"])
def legacy(request: pytest.FixtureRequest, copied: Copied) -> Iterator[Database]:
    """The application's database with ten days of history, with and without what Supabase adds."""
    with copied(_with_history, request.param == "supabase") as database:
        yield database


@pytest.fixture(params=["supabase", "plain"])
def adopted(request: pytest.FixtureRequest, copied: Copied) -> Iterator[Database]:
    """The database of ``legacy`` after its adoption."""
    with copied(_adopted, request.param == "supabase") as database:
        yield database


@pytest.fixture
def cleaned(copied: Copied) -> Iterator[Database]:
    """The application's database after its clean-up has deleted four days and half of the fifth."""
    with copied(_cleaned) as database:
        yield database


def _with_history(database: Database, on_supabase: bool) -> None:
    install_legacy(database, on_supabase=on_supabase)
    add_history(database)


def _adopted(database: Database, on_supabase: bool) -> None:
    _with_history(database, on_supabase)
    migrate(database.engine, UTC)


def _cleaned(database: Database) -> None:
    _with_history(database, True)
    clean_up(database, f"{BOUNDARY} 12:00Z")


def roll_up_daily_stats(database: Database) -> RolledUp:
    """Roll the daily numbers up, and the facts that they are summed from."""
    needed = {name: metric for name, metric in METRICS.items() if metric.daily or name == "daily_stats"}
    return roll_up_all(database.engine, DAYS, metrics=needed)["daily_stats"]


def files(database: Database) -> dict[str, int]:
    found = database.rows(
        "SELECT relname, relfilenode FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname = ANY (%s)",
        list(EVENT_TABLES),
    )
    return {row["relname"]: row["relfilenode"] for row in found}


def leading_columns(database: Database) -> Counter[tuple[str, str]]:
    found = database.rows(
        "SELECT c.relname, a.attname FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid "
        "JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] "
        "WHERE c.relnamespace = 'public'::regnamespace"
    )
    return Counter((row["relname"], row["attname"]) for row in found)


def stats(database: Database) -> dict[date, list[tuple[Any, ...]]]:
    """Return what ``daily_stats`` says of each day, as far as the application knows it."""
    by_day: dict[date, list[tuple[Any, ...]]] = {day: [] for day in DAYS}
    for row in rows_of(database, "daily_stats"):
        by_day[row["date"]].append(tuple(value for name, value in sorted(row.items()) if name != "id"))
    return by_day


def test_no_event_is_lost_or_changed_and_no_event_table_is_rewritten(legacy: Database) -> None:
    before = {table: rows_of(legacy, table) for table in ("businesses", *EVENT_TABLES)}
    assert all(before.values())
    files_before = files(legacy)
    migrate(legacy.engine, UTC)
    assert {table: rows_of(legacy, table) for table in before} == before
    assert files(legacy) == files_before
    assert find_drift(legacy.engine) == []


def test_no_index_is_built_where_one_stands_and_those_that_are_missing_are(legacy: Database) -> None:
    before = leading_columns(legacy)
    migrate(legacy.engine, UTC)
    assert leading_columns(legacy) - before == Counter([("owner_alerts", "message_sid")])
    assert before - leading_columns(legacy) == Counter()


def test_no_key_and_no_foreign_key_is_doubled(legacy: Database) -> None:
    def keys() -> Counter[tuple[str, str]]:
        found = [
            row for row in catalog(legacy, "public") if row["kind"] == "constraint" and "NOT NULL" not in row["state"]
        ]
        return Counter((row["name"].split(".")[0], row["state"]) for row in found)

    before = keys()
    migrate(legacy.engine, UTC)
    assert before - keys() == Counter([("daily_stats", "UNIQUE (business_id, date)")])
    assert keys() - before == Counter()


def test_a_missing_column_and_its_default_are_added(legacy: Database) -> None:
    legacy.run("ALTER TABLE public.sms_events DROP COLUMN body_length")
    legacy.run("ALTER TABLE public.api_usage DROP COLUMN metadata")
    legacy.run("DROP INDEX public.idx_sms_events_message_sid")
    migrate(legacy.engine, UTC)
    assert find_drift(legacy.engine) == []
    assert leading_columns(legacy)["sms_events", "message_sid"] == 1
    assert legacy.rows("SELECT DISTINCT metadata::text FROM public.api_usage") == [{"metadata": "{}"}]


@pytest.mark.parametrize("name", ["idx_sms_events_status", '"Idx of status"', "sms_events_status_idx"])
def test_an_index_that_an_interrupted_build_left_behind_is_replaced(empty_database: Database, name: str) -> None:
    install_legacy(empty_database)
    if name != "idx_sms_events_status":
        empty_database.run(f"ALTER INDEX public.idx_sms_events_status RENAME TO {name}")
    empty_database.run(f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'public.{name}'::regclass")
    migrate(empty_database.engine, UTC)
    assert leading_columns(empty_database)["sms_events", "status"] == 1
    assert empty_database.rows("SELECT FROM pg_index WHERE NOT indisvalid") == []


def test_daily_stats_holds_sums_that_the_old_types_could_not(adopted: Database) -> None:
    most = 10_000_000_000
    adopted.run("UPDATE public.daily_stats SET openai_tokens_used = %s, openai_cost_estimate = %s", most, most)
    assert adopted.rows("SELECT DISTINCT openai_cost_estimate AS cost FROM public.daily_stats") == [{"cost": most}]


def test_rows_without_business_that_repeat_a_day_are_set_aside_and_the_newest_stays(legacy: Database) -> None:
    before = rows_of(legacy, "daily_stats")
    migrate(legacy.engine, UTC)
    after = rows_of(legacy, "daily_stats")
    gone = [row for row in before if row not in after]
    assert [row for row in after if row not in before] == []
    assert {(row["business_id"], row["date"], row["messages_sent"]) for row in gone} == {
        (None, date(2026, 3, 2), 1),
        (None, date(2026, 3, 2), 2),
    }


def test_every_row_of_daily_stats_is_copied_once(legacy: Database) -> None:
    before = rows_of(legacy, "daily_stats")
    for _ in range(2):
        migrate(legacy.engine, UTC)
        legacy.run("UPDATE public.daily_stats SET calls_total = 0")
    copies = legacy.rows(
        "SELECT id, business_id, date, (row ->> 'messages_sent')::int AS messages_sent, "
        "(row ->> 'calls_total')::int AS calls_total FROM monitoring.daily_stats_adopted ORDER BY id"
    )
    assert copies == [{name: row[name] for name in copies[0]} for row in before]


def test_a_second_row_without_business_for_a_day_is_refused_from_now_on(adopted: Database) -> None:
    with pytest.raises(Exception, match="daily_stats_business_id_date_key"):
        adopted.run("INSERT INTO public.daily_stats (date) VALUES ('2026-03-02')")


def test_old_views_and_functions_are_replaced_not_doubled(adopted: Database) -> None:
    found = catalog(adopted, "public")
    views = {row["name"]: row["state"] for row in found if row["kind"] == "view"}
    functions = {row["name"].removeprefix("public."): row["state"] for row in found if row["kind"] == "function"}
    assert set(views) == set(VIEWS)
    assert all("monitoring." in definition for definition in views.values())
    ours = {name.removeprefix("public.").replace(" ", "") for name in FUNCTIONS if name.startswith("public.")}
    assert set(functions) == ours
    assert "rollup_requests" in functions["update_daily_stats(uuid,date)"]


def test_the_function_keeps_the_names_of_its_arguments_by_which_it_is_called(legacy: Database) -> None:
    for _ in range(2):
        migrate(legacy.engine, UTC)
        legacy.run("SELECT public.update_daily_stats(date_param => '2026-03-02', business_id_param => NULL)")


def test_what_somebody_built_on_the_views_survives_adoption_and_every_migrate(legacy: Database) -> None:
    for view in VIEWS:
        legacy.run(f"CREATE VIEW public.my_{view} AS SELECT * FROM public.{view}")
    for _ in range(2):
        migrate(legacy.engine, UTC)
    roll_up_all(legacy.engine, DAYS, metrics={"spend": METRICS["spend"]})
    assert len(legacy.rows("SELECT * FROM public.my_openai_daily_usage")) == 2 * len(DAYS)


def test_views_whose_columns_differ_from_the_contract_are_replaced(legacy: Database) -> None:
    legacy.run("DROP VIEW public.sms_failure_rates; DROP VIEW public.openai_daily_usage")
    legacy.run("CREATE VIEW public.sms_failure_rates AS SELECT status FROM public.sms_events")
    legacy.run("CREATE VIEW public.openai_daily_usage AS SELECT cost_estimate FROM public.api_usage")
    migrate(legacy.engine, UTC)
    assert find_drift(legacy.engine) == []
    assert legacy.rows("SELECT total_cost FROM public.openai_daily_usage") == []


def test_a_view_that_cannot_be_replaced_is_told_in_one_line_and_nothing_changes(legacy: Database) -> None:
    legacy.run("CREATE VIEW public.mine AS SELECT openai_tokens_used FROM public.daily_stats")
    before = rows_of(legacy, "daily_stats")
    with pytest.raises(DatabaseError, match=r"^[^\n]*view mine is built on[^\n]*drop[^\n]*$"):
        migrate(legacy.engine, UTC)
    assert rows_of(legacy, "daily_stats") == before
    legacy.run("DROP VIEW public.mine")
    migrate(legacy.engine, UTC)
    assert find_drift(legacy.engine) == []


def test_the_half_deleted_day_is_recorded_with_the_rows_it_once_had(cleaned: Database) -> None:
    migrate(cleaned.engine, UTC)
    found = {row["table_name"]: row for row in cleaned.rows("SELECT * FROM monitoring.rollup_days")}
    assert {row["row_day"] for row in found.values()} == {BOUNDARY}
    # 16 of each on the day, half of them gone; the application counted one of a message's two rows.
    assert {name: row["rows"] for name, row in found.items()} == {
        "sms_events": 16 + 8,
        "call_events": 4 * 16,
        "owner_alerts": 16,
        "api_usage": 8 + 1,
    }


def test_days_that_lost_events_keep_their_numbers_and_the_others_are_computed_again(cleaned: Database) -> None:
    before = stats(cleaned)
    migrate(cleaned.engine, UTC)
    adopted = stats(cleaned)
    assert {day for day in DAYS if adopted[day] != before[day]} == {date(2026, 3, 2)}  # repeated rows set aside
    for _ in range(2):
        kept = roll_up_daily_stats(cleaned).kept
        lost = {day for day in DAYS if day <= BOUNDARY}
        assert set(kept) == lost
        after = stats(cleaned)
        assert {day for day in DAYS if after[day] == adopted[day]} == lost
    assert cleaned.rows("SELECT sum(calls_total)::int AS calls FROM public.daily_stats WHERE date > %s", BOUNDARY) == [
        {"calls": 16 * 5}
    ]


@pytest.mark.parametrize("table", EVENT_TABLES)
def test_the_half_deleted_day_keeps_its_numbers_whichever_source_lost_rows(copied: Copied, table: str) -> None:
    with copied(_with_history, True) as database:
        _require_kept(database, table)


def _require_kept(database: Database, table: str) -> None:
    at = "ts" if table == "call_events" else "created_at"
    database.run(f"DELETE FROM public.{table} WHERE {at} < '{BOUNDARY} 12:00Z'")
    before = stats(database)
    migrate(database.engine, UTC)
    kept = roll_up_daily_stats(database).kept
    assert kept == [day for day in DAYS if day <= BOUNDARY]
    assert stats(database)[BOUNDARY] == before[BOUNDARY]


def test_a_stray_event_from_long_ago_does_not_hide_the_half_deleted_day(cleaned: Database) -> None:
    cleaned.run(
        "INSERT INTO public.sms_events (from_number, to_number, status, created_at) "
        "VALUES ('+1', '+2', 'sent', '1970-01-01'), ('+1', '+2', 'sent', '-infinity')"
    )
    migrate(cleaned.engine, UTC)
    found = cleaned.rows("SELECT row_day FROM monitoring.rollup_days WHERE table_name = 'sms_events'")
    assert found == [{"row_day": BOUNDARY}]


def test_without_a_clean_up_no_day_keeps_the_numbers_of_the_application(adopted: Database) -> None:
    assert adopted.rows("SELECT * FROM monitoring.rollup_days") == []
    assert roll_up_daily_stats(adopted).kept == []


@pytest.fixture
def owned(server: Any) -> Iterator[tuple[Database, Any]]:
    with owned_database(server) as owned:
        yield owned


def test_an_owner_who_is_no_superuser_can_adopt_and_roll_up(owned: tuple[Database, Any]) -> None:
    database, as_owner = owned
    add_history(database)
    for _ in range(2):
        migrate(as_owner, UTC)
    assert find_drift(as_owner) == []
    roll_up_all(as_owner, DAYS)
    assert len(rows_of(database, "daily_stats")) == 2 * len(DAYS)
    assert {*TABLES, *VIEWS} == {r["name"] for r in catalog(database, "public") if r["kind"] == "relation"}
