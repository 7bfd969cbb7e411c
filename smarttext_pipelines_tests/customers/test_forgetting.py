"""Forgetting a customer takes the key away, and changes no sum."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.core.customer_keys import customer_key
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.retention.erase import erase
from smarttext_pipelines.retention.forget_customer import forget_customer
from smarttext_pipelines.retention.run import Retention, archive_days
from smarttext_pipelines.settings.customer_secret import FILE
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import CUSTOMER_SECRET, cells, replace_events, roll_up_all
from smarttext_pipelines_tests.reference import UTC_ZONE
from smarttext_pipelines_tests.strategies import BUSINESS_IDS, business, call_event, events

DAY = date(2026, 3, 10)
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
PERSON, OTHER = "+15550100001", "+15550100002"


@pytest.fixture
def called(database: Database) -> Database:
    first, second = BUSINESS_IDS[:2]
    callers = [(PERSON, first), (PERSON, first), (OTHER, first), (None, first), (PERSON, second)]
    calls = [
        call_event(n, NOON, call_sid=f"CA{n}", from_number=number, business_id=whose, event_type="voice.missed")
        for n, (number, whose) in enumerate(callers)
    ]
    replace_events(database.engine, events(businesses=[business(1), business(2)], call_events=calls))
    roll_up_all(database.engine, DayRange(DAY, DAY), as_of=datetime(2026, 3, 20, tzinfo=UTC))
    return database


def _keys(database: Database) -> set[str | None]:
    return {row["customer_key"] for row in cells(database.engine, "customer_days")}


def test_an_erased_person_has_no_key_any_more(called: Database, tmp_path: Path) -> None:
    key = customer_key(PERSON, CUSTOMER_SECRET)
    assert key in _keys(called)
    done = erase(called.engine, ArchiveTarget(str(tmp_path)), PERSON, zone=UTC_ZONE, customer_key=key)
    assert (done.live_rows.total(), done.days_forgotten) == (3, 2)
    assert _keys(called) == {None, customer_key(OTHER, CUSTOMER_SECRET)}


def test_nothing_is_erased_where_the_secret_of_the_keys_is_missing(
    called: Database, smarttext: Callable[..., tuple[int, str, str]]
) -> None:
    code, _, err = smarttext("erase", "--phone", PERSON, "--yes")
    assert code == 2
    assert "set SMARTTEXT_CUSTOMER_KEY" in err
    assert called.rows("SELECT count(*) AS n FROM public.call_events") == [{"n": 5}]


@pytest.mark.parametrize("place", ["the tables", "the archive", "nowhere"])
def test_a_person_is_erased_by_the_key_wherever_the_number_is(
    called: Database,
    smarttext: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    place: str,
) -> None:
    (tmp_path / FILE).write_bytes(CUSTOMER_SECRET)
    monkeypatch.setenv("SMARTTEXT_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("SMARTTEXT_ARCHIVE_URL", str(tmp_path / "archive"))
    key = str(customer_key(PERSON, CUSTOMER_SECRET))
    if place == "the archive":
        roll_up_all(called.engine, DayRange(DAY, DAY).widen(5))
        retention = Retention(UTC_ZONE, 4, 30, deletes=True, tables=("call_events",))
        archive = ArchiveTarget(str(tmp_path / "archive"))
        (done,) = archive_days(called.engine, archive, retention, done=lambda _day: None, begun=lambda _count: None)
        assert (done.rows_deleted, done.failure or done.waits) == (5, None)
    elif place == "nowhere":
        called.run("DELETE FROM public.call_events WHERE from_number = %s", PERSON)
    assert smarttext("erase", "--customer", "0" * 12, "--yes")[0] == 2
    assert smarttext("erase", "--customer", "a customer", "--yes")[0] == 2
    code, _, err = smarttext("erase", "--phone", "0755501000", "--yes")
    assert (code, "with a plus and its country" in err) == (2, True)
    assert smarttext("erase", "--customer", key, "--phone", PERSON, "--yes")[0] == 2
    code, out, err = smarttext("erase", "--customer", key[:12], "--yes")
    assert (code, err) == (0, "")
    said = {"the tables": "3 rows deleted, 0", "the archive": "0 rows deleted, 3", "nowhere": "no row has the number"}
    assert said[place] in out
    assert "2 rows of customer_days" in out
    assert PERSON[2:] not in out
    assert _keys(called) == {None, customer_key(OTHER, CUSTOMER_SECRET)}
    assert called.rows("SELECT count(*) AS n FROM public.call_events WHERE from_number = %s", PERSON) == [{"n": 0}]


def test_the_key_is_gone_and_every_sum_stays(called: Database) -> None:
    database, (first, second) = called, BUSINESS_IDS[:2]
    key = customer_key(PERSON, CUSTOMER_SECRET)
    assert key is not None
    with database.engine.begin() as connection:
        assert forget_customer(connection, key) == 2
        assert forget_customer(connection, key) == 0
    found = {
        (row["business_id"], row["customer_key"]): row["calls_missed"]
        for row in cells(database.engine, "customer_days")
    }
    assert found == {
        (first, None): 3,
        (first, customer_key(OTHER, CUSTOMER_SECRET)): 1,
        (second, None): 1,
    }
    # The next rollup of the day, from events in which the person still is, is as the first one was.
    roll_up_all(database.engine, DayRange(DAY, DAY), as_of=datetime(2026, 3, 20, tzinfo=UTC))
    assert {row["customer_key"] for row in cells(database.engine, "customer_days")} >= {key, None}
