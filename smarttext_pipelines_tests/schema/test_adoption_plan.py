"""What migrate says before it changes anything is what it does; what it found is recorded; declined is untouched."""

import io
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.schema.adoption.adopt import revoke_writers
from smarttext_pipelines.schema.adoption.change import Change
from smarttext_pipelines.schema.adoption.rights_changes import rights_of, words
from smarttext_pipelines.schema.migrate import find_drift, migrate
from smarttext_pipelines.schema.public_state import PUBLIC_ROLES, read_state
from smarttext_pipelines_tests import application as app
from smarttext_pipelines_tests.conftest import Database, soak_cases
from smarttext_pipelines_tests.legacy import EVENT_TABLES, TABLES, VIEWS, add_history, catalog, install_legacy
from smarttext_pipelines_tests.put_back import put_back
from smarttext_pipelines_tests.schema.test_application import access_line, answers

UTC = ZoneInfo("UTC")
INSTALLS = [app.install_open, app.install_with_policies, app.install_closed, install_legacy]
SORTED = {
    "sms_failure_rates": "SELECT date(created_at) AS date, business_id, count(*) AS total_attempts, "
    "count(*) AS successful, count(*) AS failed, round(count(*), 2) AS failure_rate_percent FROM public.sms_events "
    "GROUP BY date(created_at), business_id ORDER BY date DESC, total_attempts",
    "openai_daily_usage": "SELECT business_id, reset_date AS date, sum(tokens_used) AS total_tokens, "
    "sum(cost_estimate) AS total_cost FROM public.api_usage GROUP BY 1, 2 ORDER BY reset_date DESC",
}


def state(database: Database) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the state without the rights of our own roles, which other tests may have made on this server."""
    with connected(database.engine) as connection:
        found = read_state(connection)
    return {key: {part: _of_others(part, value) for part, value in each.items()} for key, each in found.items()}


def _of_others(part: str, value: Any) -> Any:
    if part == "acl" and value:
        return [item for item in value if not item.startswith("smarttext_")] or None
    if part == "rights" and value:
        return {role: rights for role, rights in value.items() if not role.startswith("smarttext_")} or None
    return value


def migrated(database: Database) -> list[Change]:
    """Migrate and return what was shown before."""
    shown: list[Change] = []
    migrate(database.engine, UTC, agree=shown.extend)
    return shown


def decline(_changes: Sequence[Change]) -> None:
    msg = "no"
    raise InputError(msg)


def as_found(database: Database) -> dict[tuple[str, str], Any]:
    """Return the state without what a column that comes and goes, or the order of grants, changes."""
    return {
        key: {part: value for part, value in found.items() if part not in ("acl", "place")}
        for key, found in state(database).items()
    }


@pytest.fixture
def database(empty_database: Database) -> Database:
    """Commands run here before anything was migrated."""
    return empty_database


@pytest.mark.parametrize("install", INSTALLS)
def test_what_changes_was_shown_and_what_was_shown_is_true(
    empty_database: Database, install: Callable[[Database], None]
) -> None:
    install(empty_database)
    empty_database.run("ALTER TABLE public.sms_events DROP COLUMN body_length")
    empty_database.run("DROP INDEX public.idx_sms_events_status")
    before = state(empty_database)
    shown = migrated(empty_database)
    after = state(empty_database)
    announced = {key for change in shown for key in change.keys}
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    new_of_ours = {key for key in changed if key not in before and ours(key)}
    assert changed - new_of_ours - announced == set()
    for change in shown:
        assert change.now != change.then
        if change.what.startswith("rights of "):
            grantee, relation = change.what.removeprefix("rights of ").split(" on ")
            assert change.now == words(rights_of(before, relation, grantee))
            assert change.then == words(rights_of(after, relation, grantee))
        elif change.what.startswith("may call "):
            callers = after[change.keys[0]]["rights"] or {}
            assert change.then == (", ".join(sorted(set(callers) & {*PUBLIC_ROLES, "service_role"})) or "-")
        elif change.what.startswith(("type of ", "column ")):
            assert after[change.keys[0]]["type"] == change.then.replace("timestamp with time zone", change.then)
        elif change.then == "dropped":
            assert change.keys[0] not in after
        else:
            assert before.get(change.keys[0]) != after.get(change.keys[0])


def ours(key: tuple[str, str]) -> bool:
    """Tell whether something new is ours without being told: columns of our views, functions that nobody had."""
    kind, name = key
    return kind == "function" or (kind == "column" and name.split(".")[0] in VIEWS) or kind == "view"


@pytest.mark.parametrize("install", INSTALLS)
def test_a_second_migrate_asks_nothing(empty_database: Database, install: Callable[[Database], None]) -> None:
    install(empty_database)
    assert migrated(empty_database) != []
    assert migrated(empty_database) == []


def test_a_database_of_ours_asks_nothing(empty_database: Database) -> None:
    assert [migrated(empty_database), migrated(empty_database)] == [[], []]


@pytest.mark.parametrize("install", INSTALLS)
def test_who_declines_finds_nothing_changed(empty_database: Database, install: Callable[[Database], None]) -> None:
    install(empty_database)
    before = catalog(empty_database)
    with pytest.raises(InputError):
        migrate(empty_database.engine, UTC, agree=decline, with_roles=True)
    assert catalog(empty_database) == before
    assert empty_database.rows("SELECT FROM pg_namespace WHERE nspname = 'monitoring'") == []


def test_without_a_terminal_the_table_is_printed_and_yes_is_named(
    smarttext: Callable[..., tuple[int, str, str]], empty_database: Database
) -> None:
    app.install_open(empty_database)
    before = catalog(empty_database)
    code, out, errors = smarttext("migrate")
    assert (code, len(errors.strip().splitlines())) == (2, 1)
    assert "--yes" in errors
    assert "rights of anon on sms_events" in out
    assert catalog(empty_database) == before
    assert smarttext("migrate", "--yes")[0] == 0
    assert smarttext("migrate")[0] == 0


@pytest.mark.parametrize("answer", ["n", "", None, "y"])
def test_on_a_terminal_it_is_asked_for(
    smarttext: Callable[..., tuple[int, str, str]],
    empty_database: Database,
    monkeypatch: pytest.MonkeyPatch,
    answer: str | None,
) -> None:
    app.install_open(empty_database)
    terminal = io.StringIO("" if answer is None else f"{answer}\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    code, _, errors = smarttext("migrate")
    assert code == (0 if answer == "y" else 2)
    assert answer == "y" or "nothing was changed" in errors
    assert bool(empty_database.rows("SELECT FROM pg_namespace WHERE nspname = 'monitoring'")) is (answer == "y")


@pytest.mark.parametrize("install", INSTALLS)
def test_everything_can_be_put_back_from_the_record(
    empty_database: Database, install: Callable[[Database], None]
) -> None:
    install(empty_database)
    empty_database.run(
        "COMMENT ON TABLE public.sms_events IS 'mine'; COMMENT ON COLUMN public.api_usage.model IS 'mine'"
    )
    empty_database.run("COMMENT ON FUNCTION public.update_daily_stats(uuid, date) IS 'mine'")
    for view, definition in SORTED.items():
        empty_database.run(f"DROP VIEW public.{view}; CREATE VIEW public.{view} AS {definition}")
    before = as_found(empty_database)
    migrate(empty_database.engine, UTC)
    empty_database.run(app.FUNCTIONS)
    migrate(empty_database.engine, UTC)
    assert as_found(empty_database) != before
    put_back(empty_database)
    assert as_found(empty_database) == before


def test_what_people_wrote_beside_an_object_stays(empty_database: Database) -> None:
    app.install_closed(empty_database)
    mine = (
        "COMMENT ON TABLE public.sms_events IS 'mine'",
        "COMMENT ON COLUMN public.sms_events.status IS 'mine'",
        "COMMENT ON FUNCTION public.update_daily_stats(uuid, date) IS 'mine'",
        "COMMENT ON VIEW public.sms_failure_rates IS 'mine'",
    )
    for statement in mine:
        empty_database.run(statement)
    migrate(empty_database.engine, UTC)
    found = state(empty_database)
    keys = [("table", "sms_events"), ("column", "sms_events.status"), ("view", "sms_failure_rates")]
    keys += [("function", "update_daily_stats(uuid, date)")]
    assert {found[key]["comment"] for key in keys} == {"mine"}
    assert found["column", "sms_events.error_code"]["comment"]
    assert {found["column", f"businesses.{name}"]["comment"] for name in ("id", "name")} == {None}


def test_a_view_keeps_its_columns_and_what_it_was_sorted_by(empty_database: Database) -> None:
    app.install_closed(empty_database)
    for view, definition in SORTED.items():
        empty_database.run(f"DROP VIEW public.{view}; CREATE VIEW public.{view} AS {definition}")
    before = {key: found for key, found in state(empty_database).items() if key[0] == "column"}
    for _ in range(2):
        migrate(empty_database.engine, UTC)
        after = state(empty_database)
        for view in VIEWS:
            had = {key: found for key, found in before.items() if key[1].startswith(f"{view}.")}
            assert {key: (after[key]["place"], after[key]["type"]) for key in had} == {
                key: (found["place"], found["type"]) for key, found in had.items()
            }
        rates, usage = (after["view", view]["definition"] for view in VIEWS)
        assert rates.endswith("ORDER BY date DESC, total_attempts;")
        assert usage.endswith("ORDER BY date DESC;")
    assert find_drift(empty_database.engine) == []


def test_businesses_is_left_alone(empty_database: Database) -> None:
    app.install_open(empty_database)
    before = {key: found for key, found in state(empty_database).items() if key[1].split(".")[0] == "businesses"}
    migrate(empty_database.engine, UTC)
    after = {key: found for key, found in state(empty_database).items() if key[1].split(".")[0] == "businesses"}
    assert after == before


PUT_BACK = {
    "function public.update_daily_stats(uuid, date) is not": app.FUNCTIONS,
    "function public.reset_daily_openai_usage() is not": app.FUNCTIONS,
    "view public.openai_daily_usage is not": "ALTER VIEW public.openai_daily_usage RESET (security_invoker)",
    "view public.sms_failure_rates is not": "CREATE OR REPLACE VIEW public.sms_failure_rates AS "
    "SELECT v.* FROM public.sms_failure_rates AS w, LATERAL (SELECT w.*) AS v WHERE false",
    "trigger public.api_usage.smarttext_count_insert is not": "ALTER TABLE public.api_usage DISABLE TRIGGER USER",
    "trigger public.api_usage.smarttext_count_delete is missing": "DROP TRIGGER smarttext_count_delete ON api_usage",
    "policy public.sms_events.service_role_all is not": "ALTER POLICY service_role_all ON sms_events USING (false)",
    "service_role lacks SELECT on public.call_events": "REVOKE SELECT ON public.call_events FROM service_role",
    "service_role may not call public.settle": "REVOKE EXECUTE ON FUNCTION "
    "public.settle_openai_usage(text, bigint, numeric) FROM service_role",
    "function public.reset_daily_openai_usage(text) answers": "CREATE FUNCTION "
    "public.reset_daily_openai_usage(who text DEFAULT '') RETURNS void LANGUAGE sql AS ''",
}


LINES = [line for line in PUT_BACK if "sms_failure_rates" not in line]


@pytest.mark.parametrize("lines", [*soak_cases([[line] for line in LINES], short=()), LINES], ids="; ".join)
def test_what_others_put_back_is_named_and_mended(empty_database: Database, lines: list[str]) -> None:
    app.install_closed(empty_database)
    migrate(empty_database.engine, UTC)
    before = as_found(empty_database)
    for statements in dict.fromkeys(PUT_BACK[line] for line in lines):
        empty_database.run(statements)
    found = find_drift(empty_database.engine)
    assert [line for line in lines if not any(each.startswith(line) for each in found)] == [], found
    shown = migrated(empty_database)
    assert shown != [] or all("missing" in line for line in lines)
    assert find_drift(empty_database.engine) == []
    assert as_found(empty_database) == before
    empty_database.run(app.RESET)


def test_reset_is_callable_without_arguments_after_the_application_put_its_own_back(empty_database: Database) -> None:
    app.install_closed(empty_database)
    migrate(empty_database.engine, UTC)
    empty_database.run(app.RESET)
    empty_database.run(app.FUNCTIONS)
    empty_database.run(app.RESET)
    empty_database.run(f"SELECT public.reset_daily_openai_usage('{app.BUSINESS}')")


def test_who_writes_is_revoked_by_hand_and_not_given_back(
    smarttext: Callable[..., tuple[int, str, str]], empty_database: Database
) -> None:
    app.install_open(empty_database)
    smarttext("migrate", "--yes")
    assert "anon writes call_events, sms_events" in smarttext("access")[1]
    assert smarttext("access", "--revoke-writers")[0] == 2
    assert answers(empty_database, "anon", *app.TRACKING) == [1] * 4
    assert smarttext("access", "--revoke-writers", "--yes")[0] == 0
    for _ in range(2):
        assert set(answers(empty_database, "anon", *app.TRACKING, app.GUARD, app.STATS)) == {"42501"}
        assert answers(empty_database, "service_role", *app.TRACKING) == [1] * 4
        assert answers(empty_database, "anon", app.BUSINESSES) == [[("Before",)]]
        assert access_line(empty_database).state == "ok"
        empty_database.run("GRANT ALL ON ALL TABLES IN SCHEMA public TO anon")
        assert access_line(empty_database).state == "fail"
        assert "rights of anon on sms_events" in [change.what for change in migrated(empty_database)]
    assert revoke_writers(empty_database.engine, decline) == []


@pytest.fixture
def own_role(empty_database: Database) -> Iterator[str]:
    name = f"own_{uuid4().hex[:12]}"
    empty_database.run(f"CREATE ROLE {name} NOLOGIN")
    yield name
    empty_database.run(f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_a_role_that_read_a_view_goes_on_reading_it(own_role: str, empty_database: Database) -> None:
    app.install_closed(empty_database)
    empty_database.run(f"GRANT SELECT ON public.sms_failure_rates TO {own_role}")
    migrate(empty_database.engine, UTC)
    assert answers(empty_database, own_role, app.VIEWS[0]) == [[]]


def test_a_role_that_wrote_the_statistics_goes_on_asking_for_them(own_role: str, empty_database: Database) -> None:
    install_legacy(empty_database, on_supabase=False)
    empty_database.run(f"GRANT SELECT, INSERT, UPDATE ON public.daily_stats, public.sms_events TO {own_role}")
    assert answers(empty_database, own_role, app.RESET) == ["42501"]
    shown = {change.what: change for change in migrated(empty_database)}
    assert own_role in shown["may call update_daily_stats(uuid, date)"].then
    assert answers(empty_database, own_role, "SELECT public.update_daily_stats(NULL, '2026-03-01')", app.RESET) == [
        [("",)],
        "42501",
    ]
    assert migrated(empty_database) == []


def test_on_tables_of_ours_the_public_roles_have_nothing(empty_database: Database) -> None:
    migrate(empty_database.engine, UTC)
    empty_database.run(f"GRANT ALL ON {', '.join(f'public.{table}' for table in TABLES)} TO PUBLIC")
    assert len(migrated(empty_database)) == len(TABLES)
    found = state(empty_database)
    assert not any(rights_of(found, table, role) for table in (*TABLES, *EVENT_TABLES) for role in PUBLIC_ROLES)


def test_history_is_recorded_once_and_never_overwritten(empty_database: Database) -> None:
    install_legacy(empty_database)
    add_history(empty_database)
    migrate(empty_database.engine, UTC)
    recorded = "SELECT * FROM monitoring.adoption_record ORDER BY id"
    first = empty_database.rows(recorded)
    assert {row["occasion"] for row in first} == {"adoption"}
    empty_database.run(app.FUNCTIONS)
    migrate(empty_database.engine, UTC)
    later = empty_database.rows(recorded)
    assert later[: len(first)] == first
    assert {(row["occasion"], row["kind"]) for row in later[len(first) :]} == {("put back", "function")}
