"""Which days a night computes, which days keep their numbers, and what a day is."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smarttext_pipelines.core.days import (
    DayRange,
    contiguous,
    day_end,
    day_of,
    day_start,
    is_final,
    load_zone,
    weeks_before,
)
from smarttext_pipelines.core.errors import InputError, SettingsError
from smarttext_pipelines.core.rates import percent, wilson_lower_percent
from smarttext_pipelines.defs.planning import MAX_DAYS_BACK, nightly_days
from smarttext_pipelines.rollup.frozen_days import DayRecord, days_to_keep
from smarttext_pipelines_tests import reference

TODAY = date(2026, 3, 20)
FIRST = date(2025, 1, 1)
ZONES = ["UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Sao_Paulo", "America/Havana"]


def _days(*ago: int) -> set[date]:
    return {TODAY - timedelta(days=n) for n in ago}


@given(complete=st.sets(st.integers(1, 60)))
def test_a_night_covers_the_settle_window_and_everything_incomplete(complete: set[int]) -> None:
    days = nightly_days(TODAY, settle_days=4, complete=_days(*complete), first_partition=FIRST)
    assert days is not None
    assert days.last == TODAY - timedelta(days=1)
    missing = [n for n in range(1, MAX_DAYS_BACK + 1) if n not in complete]
    assert len(days) == max([5, *missing])


def test_a_night_begins_at_the_first_partition() -> None:
    yesterday = TODAY - timedelta(days=1)
    assert nightly_days(TODAY, settle_days=4, complete=[], first_partition=TODAY) is None
    assert nightly_days(TODAY, settle_days=4, complete=[], first_partition=yesterday) == DayRange(yesterday, yesterday)


@given(st.sets(st.integers(0, 40)))
def test_ranges_hold_exactly_their_days_and_have_gaps_between(ago: set[int]) -> None:
    ranges = contiguous(_days(*ago))
    assert [day for part in ranges for day in part] == sorted(_days(*ago))
    assert all(b.first > a.last + timedelta(days=1) for a, b in pairwise(ranges))


@pytest.mark.parametrize("name", ZONES)
@given(day=st.dates(date(2015, 1, 1), date(2030, 1, 1)))
def test_days_follow_each_other_without_gap_or_overlap(name: str, day: date) -> None:
    zone = ZoneInfo(name)
    start, end = day_start(day, zone), day_end(day, zone)
    assert end == day_start(day + timedelta(days=1), zone)
    assert timedelta(hours=23) <= end - start <= timedelta(hours=25)
    assert day_of(start, zone) == day
    assert day_of(start - timedelta(microseconds=1), zone) == day - timedelta(days=1)


def test_a_day_is_final_when_its_settle_window_is_over() -> None:
    zone = ZoneInfo("America/New_York")
    end = datetime(2026, 3, 13, 4, tzinfo=UTC)
    assert is_final(date(2026, 3, 8), zone, 4, end)
    assert not is_final(date(2026, 3, 8), zone, 4, end - timedelta(microseconds=1))


def test_a_wrong_zone_and_a_reversed_range_are_refused() -> None:
    with pytest.raises(SettingsError, match="no IANA time zone"):
        load_zone("Mars/Olympus")
    with pytest.raises(InputError, match="swap"):
        DayRange(TODAY, FIRST)


def test_a_day_without_rows_left_keeps_stored_counts() -> None:
    kept = days_to_keep([TODAY], live={}, recorded={}, stored=[TODAY], neighbour_days=0)
    assert kept == {TODAY}


def test_a_new_day_is_computed_beside_a_neighbour_that_was_short_from_the_start() -> None:
    before = TODAY - timedelta(days=1)
    recorded = {before: DayRecord(9, was_read=False)}
    live = {before: 3, TODAY: 5}
    assert days_to_keep([before, TODAY], live=live, recorded=recorded, stored=[], neighbour_days=4) == {before}


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_rates_are_those_of_the_reference(failed: int, successful: int) -> None:
    assert percent(failed, failed + successful) == reference.percent_half_up(failed, failed + successful)
    assert wilson_lower_percent(failed, successful) == reference.wilson_lower_percent(failed, successful)


def test_a_rate_of_nothing_is_unknown_and_not_zero() -> None:
    assert percent(0, 0) is None
    assert wilson_lower_percent(0, 0) is None
    assert percent(1, 3) == Decimal("33.33")


def test_weeks_before_is_the_same_time_of_the_clock_on_the_wall() -> None:
    """The clocks of New York went back on 1 November 2026; who opens at nine opened an hour earlier in UTC before."""
    monday = datetime(2026, 11, 2, 14, 30, tzinfo=UTC)
    new_york = ZoneInfo("America/New_York")
    assert weeks_before(monday, 0, new_york) == monday
    assert weeks_before(monday, 1, new_york) == datetime(2026, 10, 26, 13, 30, tzinfo=UTC)
    assert weeks_before(monday, 1, ZoneInfo("UTC")) == datetime(2026, 10, 26, 14, 30, tzinfo=UTC)
