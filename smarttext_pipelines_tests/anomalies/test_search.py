"""A search reads the rolled-up numbers, writes what was unusual, and the same again on a rerun."""

from datetime import date, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from smarttext_pipelines.anomalies.anomaly_store import search_days
from smarttext_pipelines.anomalies.episodes import episodes_of, find_episode, mark_days, say_verdict
from smarttext_pipelines.anomalies.in_words import sentence
from smarttext_pipelines.anomalies.scoring import learning_days
from smarttext_pipelines.anomalies.series_kinds import SERIES_KINDS
from smarttext_pipelines.anomalies.series_reader import read_series
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines_tests.alerts import NOON, World, business_id, only
from smarttext_pipelines_tests.anomalies.past import DAYS, LAST, calm, write
from smarttext_pipelines_tests.conftest import Database

UTC = ZoneInfo("UTC")
ONE_DAY = DayRange(LAST, LAST)
BUSINESSES = 20


@pytest.fixture
def world(database: Database) -> World:
    world = World(database)
    world.businesses(BUSINESSES)
    return world


def _search(world: World, days: DayRange = ONE_DAY) -> list[dict[str, Any]]:
    with world.database.engine.begin() as connection:
        search_days(connection, days, UTC)
    return world.database.rows("SELECT * FROM monitoring.anomalies ORDER BY day, metric, business_id")


def _failing(world: World, business: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    cells = calm(BUSINESSES)
    cells["sms_failure_count"][-1, business] = 9
    cells["sms_success_count"][-1, business] = 21
    cells["messages_sent"][-1, business] = 30
    write(world.database, cells)
    return cells


def test_a_business_whose_texts_fail_is_found_alone_and_said_in_words(world: World) -> None:
    _failing(world)
    found = _search(world)
    assert [(row["metric"], row["business_id"], row["side"]) for row in found] == [("texts_failed", business_id(1), 1)]
    assert (found[0]["found"], found[0]["whole"], found[0]["window_days"]) == (9, 30, 1)
    with world.database.engine.connect() as connection:
        said = sentence(episodes_of(connection, LAST)[0])
    assert said.startswith("9 of 30 texts failed (30 %); usually 2.")
    assert said.endswith(" were to be expected")


def test_the_same_search_again_changes_no_row_and_a_range_finds_what_single_days_find(world: World) -> None:
    cells = _failing(world)
    # From one month into the next.
    span = DayRange(date(2026, 2, 26), date(2026, 3, 3))
    first = (span.first - DAYS.first).days
    cells["messages_sent"][first : first + 5, 3] = 0
    write(world.database, cells)
    whole = _search(world, span)
    assert len({row["day"] for row in whole}) > 2
    assert _search(world, span) == whole
    world.run("TRUNCATE monitoring.anomalies")
    for day in reversed([*span]):
        singly = _search(world, DayRange(day, day))

    def without_number(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{name: value for name, value in row.items() if name != "id"} for row in rows]

    assert without_number(singly) == without_number(whole)


def test_a_restated_day_loses_what_is_no_longer_unusual(world: World) -> None:
    _failing(world)
    assert _search(world)
    write(world.database, calm(BUSINESSES))
    assert _search(world) == []


def test_a_day_that_was_not_rolled_up_after_its_end_is_not_searched_and_teaches_nothing(world: World) -> None:
    cells = calm(BUSINESSES)
    for matrix in cells.values():
        matrix[-10] = 0
    write(world.database, cells)
    day = LAST - timedelta(days=9)
    counts = {kind.name for kind in SERIES_KINDS.values() if kind.shape == "count"}
    world.run(f"DELETE FROM monitoring.rollup_days WHERE row_day = '{day}' AND table_name = 'api_usage'")
    assert not [row for row in _search(world, DayRange(day, LAST)) if row["metric"] in counts]
    searched = [row["day"] for row in world.database.rows("SELECT day FROM monitoring.anomaly_days ORDER BY day")]
    assert searched == [each for each in DayRange(day, LAST) if each != day]


def test_a_holiday_that_empties_everybody_is_one_anomaly_of_all_together(world: World) -> None:
    cells = calm(BUSINESSES)
    for matrix in cells.values():
        matrix[-1] = np.floor(matrix[-1] / 10)
    write(world.database, cells)
    found = _search(world)
    assert {row["business_id"] for row in found} == {None}
    assert "texts_sent" in {row["metric"] for row in found}


def test_all_together_are_not_told_where_one_business_explains_it(world: World) -> None:
    cells = calm(BUSINESSES)
    cells["openai_requests"][-1, 4] = 600
    cells["openai_cost_estimate"][-1, 4] = 150
    write(world.database, cells)
    found = _search(world)
    assert {row["business_id"] for row in found} == {business_id(5)}
    assert "openai_requests" in {row["metric"] for row in found}


def test_marked_days_are_neither_told_nor_learnt(world: World) -> None:
    _failing(world)
    assert _search(world)
    with world.database.engine.begin() as connection:
        mark_days(connection, business_id(1), LAST, LAST, "closed for inventory", "ana")
    assert _search(world) == []


def test_a_marked_day_is_in_no_later_window(world: World) -> None:
    cells = calm(BUSINESSES)
    for name in ("messages_sent", "sms_success_count", "openai_requests", "calls_total"):
        cells[name][-4, 2] = 600
    write(world.database, cells)
    day = LAST - timedelta(days=3)
    told = {row["business_id"] for row in _search(world, DayRange(day, LAST))}
    assert business_id(3) in told
    with world.database.engine.begin() as connection:
        mark_days(connection, business_id(3), day, day, "a campaign", "ana")
    left = [row for row in _search(world, DayRange(day, LAST)) if row["metric"] in ("texts_sent", "openai_requests")]
    assert left == [], "nor are all together unusual by a day that was explained"


def test_any_number_of_an_episode_finds_it_and_its_verdict_outlives_its_first_day(world: World) -> None:
    _failing(world)
    [first] = _search(world)
    day = LAST + timedelta(days=2)
    world.run(
        "INSERT INTO monitoring.anomalies (day, metric, business_id, side, window_days, found, whole, expected, low,"
        f" high, nats) SELECT '{day}', metric, business_id, side, window_days, 11, whole, expected, low, high, nats"
        " FROM monitoring.anomalies"
    )
    [second] = world.database.rows("SELECT id FROM monitoring.anomalies WHERE day = %s", day)
    with world.database.engine.begin() as connection:
        assert find_episode(connection, second["id"]).id == first["id"]
        assert [each.found for each in episodes_of(connection, LAST)] == [9], "a day has its own number"
        assert [each.found for each in episodes_of(connection, day)] == [11]
        say_verdict(connection, second["id"], "right", "ana")
    world.run(f"DELETE FROM monitoring.anomalies WHERE day = '{LAST}'")
    with world.database.engine.begin() as connection:
        assert find_episode(connection, second["id"]).verdict == "right"


def test_what_was_called_wrong_is_not_told_again_the_week_after(world: World) -> None:
    cells = _failing(world)
    for name in ("sms_failure_count", "sms_success_count", "messages_sent"):
        cells[name][-8, 0] = cells[name][-1, 0]
    write(world.database, cells)
    before = LAST - timedelta(days=7)

    def told() -> list[dict[str, Any]]:
        found = _search(world, DayRange(before, LAST))
        return [row for row in found if row["business_id"] == business_id(1) and row["day"] in (before, LAST)]

    [first, second] = told()
    assert (first["day"], second["day"]) == (before, LAST)
    with world.database.engine.begin() as connection:
        assert say_verdict(connection, first["id"], "wrong", "ana").verdict == "wrong"
    assert [row["day"] for row in told()] == [before]


def test_a_verdict_of_no_anomaly_or_of_no_meaning_is_refused(world: World) -> None:
    with world.database.engine.begin() as connection:
        with pytest.raises(InputError, match="there is no anomaly 7"):
            say_verdict(connection, 7, "wrong", "ana")
        with pytest.raises(InputError, match="'maybe' is no verdict; write right, wrong or expected"):
            say_verdict(connection, 7, "maybe", "ana")


def test_cells_are_those_of_daily_stats_and_zero_where_nothing_happened(world: World) -> None:
    cells = calm(3)
    cells["messages_sent"][5, 1] = np.nan
    for matrix in cells.values():
        matrix[7, 2] = 0
    write(world.database, cells)
    world.database.run(
        "INSERT INTO public.daily_stats (business_id, date, messages_sent) VALUES (NULL, %s, 1000)",
        DAYS.first + timedelta(days=9),
    )
    # What is written anew comes after the others of its day.
    world.run(f"UPDATE public.daily_stats SET updated_at = now() WHERE business_id = '{business_id(1)}'")
    with world.database.engine.begin() as connection:
        series = read_series(connection, DAYS, UTC)
    assert series.businesses == tuple(UUID(str(business_id(n))) for n in (1, 2, 3))
    for name, matrix in cells.items():
        assert np.array_equal(series.cells[name][:, :3], matrix, equal_nan=True), name
    total = series.cells["messages_sent"][:, 3]
    assert np.isnan(total[5])
    assert total[9] == cells["messages_sent"][9].sum() + 1000


def test_where_no_day_was_rolled_up_nothing_is_known_and_there_are_no_businesses(world: World) -> None:
    world.database.run("DELETE FROM monitoring.rollup_days")
    with world.database.engine.begin() as connection:
        series = read_series(connection, DAYS, UTC)
    assert series.businesses == ()
    assert all(np.isnan(matrix).all() for matrix in series.cells.values())


def test_every_day_of_a_month_is_learnt_from_the_same_first_day() -> None:
    firsts = {learning_days(LAST.replace(day=day)).first for day in range(1, 32)}
    assert firsts == {LAST.replace(year=2025, month=12, day=1)}


def test_what_was_unusual_is_an_incident_once_and_ends_with_a_day_as_usual_or_a_verdict(world: World) -> None:
    world.rules = only("anomaly", "anomaly_platform", notify="always")
    world.begin()
    assert world.tick().notices == {}
    _failing(world)
    _search(world)
    assert world.tick().notices == {"firing": 1}
    [incident] = world.database.rows("SELECT rule, scope, detail, severity, state FROM monitoring.incidents")
    assert (incident["rule"], incident["severity"]) == ("anomaly", "info")
    assert incident["scope"] == f"business:{business_id(1)}"
    assert incident["detail"].startswith("9 of 30 texts failed (30 %)")
    [told] = world.outbox("message ->> 'headline'", "kind = 'firing'")
    assert told[0].startswith("1 series is unusual: 9 of 30 texts failed (30 %)")
    assert world.tick().notices == {}
    number = world.database.rows("SELECT id FROM monitoring.anomalies")[0]["id"]
    with world.database.engine.begin() as connection:
        say_verdict(connection, number, "expected", "ana")
    for _ in range(3):
        world.tick(5)
    assert world.database.rows("SELECT state FROM monitoring.incidents") == [{"state": "resolved"}]


def test_what_a_threshold_told_is_no_anomaly_again(world: World) -> None:
    world.rules = only("anomaly", "sms_failure_rate", notify="always", for_=1)
    world.begin()
    _failing(world)
    world.database.run(
        "INSERT INTO monitoring.incidents (rule, scope, business_id, state, severity, since, breaches, fired_at, told,"
        " resolved_at, evaluated_at) VALUES ('sms_failure_rate', %s, %s, 'resolved', 'warning', %s, 1, %s, 'warning',"
        " %s, %s)",
        f"business:{business_id(1)}", business_id(1), *[NOON - timedelta(hours=30)] * 2,
        *[NOON - timedelta(hours=20)] * 2,
    )  # fmt: skip
    _search(world)
    assert world.tick().notices == {}


def test_an_incident_of_one_business_hides_nothing_of_all_together_nor_of_the_other_side(world: World) -> None:
    world.rules = only("anomaly", "anomaly_platform", "event_silence", notify="always", for_=1)
    world.begin()
    _unusual_calls(world, None, 1)
    _unusual_calls(world, business_id(1), 1)
    _unusual_calls(world, business_id(2), -1)
    for business in (business_id(1), business_id(2)):
        world.database.run(
            "INSERT INTO monitoring.incidents (rule, scope, business_id, state, severity, since, breaches, fired_at,"
            " told, resolved_at, evaluated_at) VALUES ('event_silence', %s, %s, 'resolved', 'warning', %s, 1, %s,"
            " 'warning', %s, %s)",
            f"business:{business}", business, *[NOON - timedelta(hours=30)] * 2, *[NOON - timedelta(hours=20)] * 2,
        )  # fmt: skip
    world.tick()
    told = {scope for rule, scope, _ in world.incidents() if rule.startswith("anomaly")}
    assert told == {"platform", f"business:{business_id(1)}"}


def test_a_business_that_is_gone_is_not_told(world: World) -> None:
    world.rules = only("anomaly", notify="always")
    world.begin()
    _unusual_calls(world, UUID(int=99), 1)
    assert [world.tick().notices for _ in range(3)] == [{}, {}, {}]


def test_the_end_says_that_it_is_as_usual_and_comes_with_a_later_search_only(world: World) -> None:
    world.rules = only("anomaly", notify="always")
    world.begin()
    _unusual_calls(world, business_id(1), 1)
    assert world.tick().notices == {"firing": 1}
    world.now += timedelta(days=5)
    assert world.tick().notices == {}, "nothing newer was searched"
    world.run(f"INSERT INTO monitoring.anomaly_days (day, tested_count) VALUES ('{LAST + timedelta(days=4)}', 1)")
    ends = [world.tick(5).notices for _ in range(3)]
    assert {"resolved": 1} in ends
    [text] = world.outbox("message ->> 'headline'", "kind = 'resolved'")
    assert text == ("as usual again",)


def _unusual_calls(world: World, business: UUID | None, side: int) -> None:
    world.database.run(
        "INSERT INTO monitoring.anomaly_days (day, tested_count) VALUES (%s, 1) ON CONFLICT DO NOTHING", LAST
    )
    world.database.run(
        "INSERT INTO monitoring.anomalies (day, metric, business_id, side, window_days, found, expected, low, high,"
        " nats) VALUES (%s, 'calls', %s, %s, 1, 90, 30, 20, 40, 20)", LAST, business, side,
    )  # fmt: skip


def test_every_series_names_metrics_of_rules_that_exist() -> None:
    from smarttext_pipelines.alerting.metrics import ALERT_METRICS

    assert {signal for kind in SERIES_KINDS.values() for signal in kind.told_by} <= set(ALERT_METRICS)
