"""The policy: which days may leave the database, and who may let them."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.core.errors import InputError, SettingsError
from smarttext_pipelines.retention.policy import (
    RolledUpDay,
    last_day_to_archive,
    may_delete_unasked,
    min_retention_days,
    reason_to_wait,
)

DAY = date(2026, 3, 15)
NOW = datetime(2026, 11, 20, tzinfo=UTC)
READ = RolledUpDay(10, NOW, 10)


@given(st.integers(4, 30), st.integers(0, 400))
def test_no_day_leaves_before_its_messages_have_settled_for_a_week(settle: int, days: int) -> None:
    if days < min_retention_days(settle):
        with pytest.raises(InputError, match="at least"):
            last_day_to_archive(DAY, retention_days=days, settle_days=settle)
    else:
        last = last_day_to_archive(DAY, retention_days=days, settle_days=settle)
        assert DAY - last > timedelta(days=settle + 7)


def test_a_day_waits_for_its_rollup_and_for_that_of_its_settle_window() -> None:
    never = RolledUpDay(0, None, 0)
    assert reason_to_wait({DAY: READ}, {}, hold_until=None, now=NOW) is None
    assert "never rolled up" in str(reason_to_wait({DAY: never}, {}, hold_until=None, now=NOW))
    later = reason_to_wait({DAY: READ}, {DAY + timedelta(days=4): never}, hold_until=None, now=NOW)
    assert later == "2026-03-19 was never rolled up: smarttext rollup --date 2026-03-19"


def test_a_day_waits_when_its_rows_are_not_those_that_were_rolled_up() -> None:
    more, fewer = RolledUpDay(10, NOW, 12), RolledUpDay(10, NOW, 7)
    assert "2 rows of 2026-03-15 are not rolled up" in str(reason_to_wait({DAY: more}, {}, hold_until=None, now=NOW))
    assert "3 rows of 2026-03-15 are missing" in str(reason_to_wait({DAY: fewer}, {}, hold_until=None, now=NOW))
    # Rows of the settle window are that day's own business.
    assert reason_to_wait({DAY: READ}, {DAY + timedelta(days=1): more}, hold_until=None, now=NOW) is None


def test_restored_rows_stay_as_long_as_was_promised() -> None:
    later, earlier = NOW + timedelta(days=1), NOW - timedelta(days=1)
    assert "stays until 2026-11-21" in str(reason_to_wait({DAY: READ}, {}, hold_until=later, now=NOW))
    assert reason_to_wait({DAY: READ}, {}, hold_until=earlier, now=NOW) is None


def test_a_schedule_deletes_only_from_our_server_or_where_both_was_said() -> None:
    def may(*, is_embedded: bool = False, is_wanted: bool = False, has_archive_url: bool = False) -> bool:
        return may_delete_unasked(is_embedded=is_embedded, is_wanted=is_wanted, has_archive_url=has_archive_url)

    assert may(is_embedded=True)
    assert may(is_wanted=True, has_archive_url=True)
    assert not may()
    assert not may(is_wanted=True)
    assert not may(has_archive_url=True)


def test_a_url_that_cannot_be_used_is_told_without_its_secret() -> None:
    with pytest.raises(SettingsError, match="nonsense") as error:
        ArchiveTarget("nonsense://key:part@bucket/path")
    assert "part" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("memory://key:secret@bucket/path", "memory://bucket/path"),
        ("memory://key:se/cr@et@bucket/path", "memory://bucket/path"),
        ("memory://bucket:9000/path@home", "memory://bucket:9000/path@home"),
        ("/archive/of@home", "/archive/of@home"),
    ],
)
def test_a_place_is_named_without_its_credentials(url: str, name: str) -> None:
    assert ArchiveTarget(url).name == name
