"""The sample is deterministic, cut by time alone and as large as asked; following continues it without a seam."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest

from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.sample import SampleSpec, follow, profiles, sample_businesses, sample_day
from smarttext_pipelines.sample.follow import Upcoming
from smarttext_pipelines.sample.planted_incidents import incident_day
from smarttext_pipelines.sample.sample_events import cut, draw_day

END = date(2026, 11, 20)
AFTERNOON = datetime(2026, 11, 20, 17, tzinfo=UTC)
SPEC = SampleSpec(
    days=30, businesses=25, events_per_day=2000, seed=7, end=END, until=datetime(2026, 11, 30, tzinfo=UTC)
)
TIMES = {"sms_events": "created_at", "call_events": "ts", "api_usage": "created_at", "owner_alerts": "created_at"}


def ids(rows: pa.Table) -> list[str]:
    return rows["id"].to_pylist()


def test_the_same_spec_gives_the_same_rows() -> None:
    first, businesses = sample_day(SPEC, END), sample_businesses(SPEC)
    profiles._draw.cache_clear()
    assert sample_day(replace(SPEC), END) == first
    assert sample_businesses(replace(SPEC)) == businesses


def test_the_rows_are_those_of_four_tables() -> None:
    assert sample_day(SPEC, END).keys() == TIMES.keys()


@pytest.mark.parametrize("change", [{"seed": 8}, {"businesses": 26}, {"events_per_day": 2001}])
def test_another_sample_has_other_ids(change: dict[str, int]) -> None:
    ours, others = sample_day(SPEC, END), sample_day(replace(SPEC, **change), END)
    assert all(set(ids(ours[name])).isdisjoint(ids(others[name])) for name in TIMES)


def test_a_business_is_the_same_in_a_larger_sample() -> None:
    larger = sample_businesses(replace(SPEC, businesses=50)).slice(0, 25)
    stable = ["id", "name", "public_phone", "twilio_phone", "created_at", "hours_json"]
    assert sample_businesses(SPEC).select(stable) == larger.select(stable)


def test_a_day_does_not_depend_on_the_range_it_is_drawn_in() -> None:
    day = END - timedelta(days=20)
    assert sample_day(replace(SPEC, days=400), day) == sample_day(SPEC, day)
    assert sample_day(replace(SPEC, end=END + timedelta(days=100)), day) == sample_day(SPEC, day)


@pytest.mark.parametrize("days_before", [5, 7, 12])
def test_an_incident_changes_rows_but_neither_adds_nor_removes_any(days_before: int) -> None:
    day = incident_day(END, days_before)
    usual, struck = sample_day(replace(SPEC, end=END + timedelta(days=100)), day), sample_day(SPEC, day)
    assert usual != struck
    assert all(ids(usual[name]) == ids(struck[name]) for name in TIMES)


@pytest.mark.parametrize("name", TIMES)
def test_until_leaves_rows_out_and_changes_none(name: str) -> None:
    rows = {row["id"]: row for row in sample_day(SPEC, END)[name].to_pylist()}
    kept = {row["id"]: row for row in sample_day(replace(SPEC, until=AFTERNOON), END)[name].to_pylist()}
    assert all(rows[key] == row for key, row in kept.items())
    assert 0 < len(kept) < len(rows)
    at = {key: row[TIMES[name]] for key, row in rows.items() if row[TIMES[name]]}
    assert {key for key in at if at[key] <= AFTERNOON} == at.keys() & kept.keys()


@pytest.mark.parametrize(
    ("businesses", "events_per_day", "seed"),
    [(25, 2000, 7), (25, 2000, 1), (1, 500, 2), (10, 300, 3), (300, 20_000, 4), (2000, 1000, 5)],
)
def test_the_mean_number_of_rows_is_what_was_asked_for(businesses: int, events_per_day: int, seed: int) -> None:
    spec = replace(SPEC, days=28, businesses=businesses, events_per_day=events_per_day, seed=seed)
    mean = sum(len(rows) for day in spec for rows in sample_day(spec, day).values()) / spec.days
    assert 0.75 * events_per_day <= mean <= 1.25 * events_per_day


def test_a_day_without_any_call_can_be_drawn() -> None:
    rows = sample_day(replace(SPEC, businesses=1, events_per_day=1), END)
    assert len(rows["api_usage"]) == 1
    assert len(rows["call_events"]) == 0


@pytest.mark.parametrize("change", [{"businesses": 0}, {"events_per_day": 0}, {"days": 0}, {"seed": -1}])
def test_what_cannot_be_drawn_is_refused(change: dict[str, int]) -> None:
    with pytest.raises(InputError, match="choose a number from"):
        replace(SPEC, **change)


def test_following_gives_each_row_once_with_the_late_reports_of_earlier_days() -> None:
    stop, spec = AFTERNOON + timedelta(days=2), replace(SPEC, days=10, until=AFTERNOON)
    upcoming, moment = Upcoming(spec), AFTERNOON
    seen: dict[str, list[str]] = {name: [] for name in TIMES}
    while moment <= stop:
        for name, rows in upcoming.due(moment).items():
            seen[name] += ids(rows)
        upcoming.written(moment)
        moment += timedelta(hours=3)
    for name in TIMES:
        days = (spec.first + timedelta(days=n) for n in range(13))
        drawn = [cut(draw_day(spec, day), after=AFTERNOON, until=stop)[name] for day in days]
        assert len(seen[name]) > 100
        assert sorted(seen[name]) == sorted(ids(pa.concat_tables(drawn)))


def test_a_look_that_was_not_written_is_offered_again() -> None:
    upcoming, later = Upcoming(replace(SPEC, until=AFTERNOON)), AFTERNOON + timedelta(minutes=10)
    lost = ids(upcoming.due(later)["sms_events"])
    assert set(lost) < set(ids(upcoming.due(later + timedelta(minutes=10))["sms_events"]))
    upcoming.written(later)
    assert not ids(upcoming.due(later)["sms_events"])


def test_following_outlives_a_database_that_is_away() -> None:
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return len(waits) == 3

    nobody = "postgresql+psycopg://nobody@127.0.0.1:1/nothing"
    follow(nobody, replace(SPEC, until=AFTERNOON), lambda: AFTERNOON + timedelta(hours=1), wait)
    assert waits == [10.0] * 3
