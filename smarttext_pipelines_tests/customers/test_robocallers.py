"""Likely robocallers: the definition beside a reference of a few lines, and the figures that show both."""

import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, text

from smarttext_pipelines.core.customer_keys import customer_key
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.customers.robocaller_list import list_robocallers
from smarttext_pipelines.customers.robocallers import LIMITS, Limits, Robocalls, read_robocalls
from smarttext_pipelines.digest.enqueue import read_digest
from smarttext_pipelines.digest.robocall_figures import without
from smarttext_pipelines.digest.totals import read_totals
from smarttext_pipelines.schema.tables.statistics import customer_days
from smarttext_pipelines.web.pages import business_page
from smarttext_pipelines.web.view import Ask
from smarttext_pipelines_tests.conftest import SOAK, Copied, Database
from smarttext_pipelines_tests.events import CUSTOMER_SECRET, replace_events, roll_up_all
from smarttext_pipelines_tests.reference import UTC_ZONE
from smarttext_pipelines_tests.strategies import BUSINESS_IDS, api_call, business, call_event, events, sms_event

BEGIN = date(2026, 3, 1)
KEYS = [None, *(f"{n}" * 64 for n in range(1, 6))]
OWNERS = [None, *(UUID(int=n) for n in range(1, 6))]
ZERO = {c.name: 0 for c in customer_days.columns if not c.nullable and c.name not in ("id", "day", "updated_at")}


class Row(NamedTuple):
    """What a customer did on a day with a business."""

    day: date
    business: UUID | None
    key: str | None
    calls: int
    missed: int
    texts: int


def expected(rows: list[Row], days: DayRange, complete: set[date], limits: Limits) -> tuple[Any, set[date]]:
    """Return (day, business) → numbers, calls, missed, texts of likely robocallers, and the days that are unknown."""
    found: defaultdict[Any, Counter[str]] = defaultdict(Counter)
    unknown = set()
    for day in days:
        span = [day - timedelta(days=n) for n in range(7)]
        if not complete.issuperset(span):
            unknown.add(day)
            continue
        for key in {row.key for row in rows if row.key}:
            calls = [row for row in rows if row.key == key and row.day in span and row.business and row.calls]
            if len({row.business for row in calls}) >= limits.businesses or any(
                row.calls > limits.daily_calls for row in calls
            ):
                for row in rows:
                    if (row.key, row.day) == (key, day):
                        found[day, row.business].update(callers=1, calls=row.calls, missed=row.missed, texts=row.texts)
    return found, unknown


def _drawn(chance: random.Random) -> tuple[list[Row], set[date]]:
    days = [BEGIN + timedelta(days=n) for n in range(14)]
    rows = []
    for key in KEYS:
        for owner in OWNERS:
            for day in chance.sample(days, chance.choice((0, 0, 1, 2, 5))):
                calls = chance.choice((0, 1, 1, 2, 3, 4))
                rows.append(Row(day, owner, key, calls, chance.randint(0, calls), chance.randint(0, 2)))
    return rows, {day for day in days if chance.random() < 0.97}


def _put(database: Database, rows: list[Row], complete: set[date]) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("TRUNCATE monitoring.customer_days, monitoring.rollup_days"))
        values = [
            {**ZERO, "id": uuid4(), "day": row.day, "business_id": row.business, "customer_key": row.key,
             "calls_total": row.calls, "calls_missed": row.missed, "messages_sent": row.texts} for row in rows
        ]  # fmt: skip
        if values:
            connection.execute(insert(customer_days), values)
        for day in complete:
            connection.execute(
                text(
                    "INSERT INTO monitoring.rollup_days (table_name, row_day, rows, rolled_up_at, checked_at)"
                    " VALUES ('customer_days', :day, 0, :at, :at)"
                ),
                {"day": day, "at": datetime(2026, 4, 1, tzinfo=UTC)},
            )


class TestDefinition:
    """The statement beside the reference."""

    database: Database

    @pytest.fixture(autouse=True)
    def _use(self, database: Database) -> None:
        type(self).database = database

    @settings(max_examples=400 if SOAK else 25, deadline=None)
    @given(chance=st.randoms(use_true_random=False), businesses=st.integers(2, 5), daily_calls=st.integers(1, 4))
    def test_it_is_what_the_reference_says_cell_by_cell(
        self, chance: random.Random, businesses: int, daily_calls: int
    ) -> None:
        limits, days = Limits(businesses, daily_calls), DayRange(BEGIN + timedelta(days=5), BEGIN + timedelta(days=13))
        rows, complete = _drawn(chance)
        _put(self.database, rows, complete)
        wanted, unknown = expected(rows, days, complete, limits)
        with self.database.engine.connect() as connection:
            found = read_robocalls(connection, days, limits, UTC_ZONE)
            of_one = read_robocalls(connection, days, limits, UTC_ZONE, business=OWNERS[1])
            of_none = read_robocalls(connection, days, limits, UTC_ZONE, unattributed=True)
            listed, unknown_too = list_robocallers(connection, days, limits, UTC_ZONE)
        assert found.unknown_days == of_one.unknown_days == unknown_too == unknown
        names = ("callers", "calls", "missed", "texts")
        cells = {key: {name: getattr(each, name) for name in names} for key, each in found.by_row.items()}
        assert cells == {key: {name: each[name] for name in names} for key, each in wanted.items()}
        for part, whose in ((found, OWNERS), (of_one, OWNERS[1:2]), (of_none, [None])):
            sums = sum((each for (_, owner), each in wanted.items() if owner in whose), Counter())
            assert [getattr(part.total, name) for name in names[1:]] == [sums[name] for name in names[1:]]
        assert len(listed) == found.total.callers
        assert sum(each.robocalls.calls for each in listed) == found.total.calls


DAY = BEGIN + timedelta(days=8)
FIVE = (*BUSINESS_IDS[:4], UUID("c0000000-0000-4000-8000-000000000005"))
FIRST = FIVE[0]
SPREAD, OFTEN, CUSTOMER = "+15550100001", "+15550100002", "+15550100003"
SPELLED = (SPREAD, "(555) 010-0001", "15550100001", "+1.555.010.0001", "whatsapp:+15550100001")


def _at(day: int, minute: int = 0) -> datetime:
    return datetime(2026, 3, 1, 12, tzinfo=UTC) + timedelta(days=day, minutes=minute)


def _fill(database: Database) -> None:
    """One number calls five businesses in six days; one calls the first 21 times on a day; one is a customer."""
    made = [(spelled, FIVE[n], _at((3, 4, 5, 6, 8)[n])) for n, spelled in enumerate(SPELLED)]
    made += [(SPREAD, FIRST, _at(8, 1)), *((OFTEN, FIRST, _at(8, 10 + n)) for n in range(21))]
    made += [(CUSTOMER, FIRST, _at(7)), *((CUSTOMER, whose, _at(8)) for whose in FIVE[:4])]
    replace_events(
        database.engine,
        events(
            businesses=[business(1, id=whose, name=f"Business {n}") for n, whose in enumerate(FIVE, 1)],
            call_events=[
                call_event(n, at, call_sid=f"CA{n}", from_number=who, business_id=whose, event_type="voice.missed")
                for n, (who, whose, at) in enumerate(made)
            ],
            sms_events=[
                sms_event(n, _at(8, 40), message_sid=f"SM{n}", to_number=who, business_id=FIRST, status="delivered",
                          request_id=f"req-{n}")
                for n, who in enumerate((SPREAD, CUSTOMER, "+15550100004", "+15550100005"))
            ],
            api_usage=[
                api_call(1, _at(8), business_id=FIRST, service="twilio", endpoint="sms", cost_estimate=Decimal("0.04")),
                api_call(2, _at(8), business_id=FIRST, request_id="req-0", tokens_used=9, cost_estimate=Decimal("0.5")),
            ],
        ),
    )  # fmt: skip
    roll_up_all(database.engine, DayRange(BEGIN + timedelta(days=2), DAY), as_of=datetime(2026, 3, 20, tzinfo=UTC))


@pytest.fixture
def loaded(copied: Copied, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    with copied(_migrated) as database:
        monkeypatch.setenv("SMARTTEXT_DATABASE_URL", database.url)
        yield database


def _migrated(database: Database) -> None:
    from smarttext_pipelines.schema.migrate import migrate

    migrate(database.engine, UTC_ZONE)
    _fill(database)


def test_one_number_in_five_spellings_that_calls_five_businesses_is_one_and_a_customer_of_four_is_none(
    loaded: Database,
) -> None:
    days = DayRange(DAY - timedelta(days=1), DAY)
    with loaded.engine.connect() as connection:
        found = read_robocalls(connection, days, LIMITS, UTC_ZONE)
        totals = read_totals(connection, days)
        of_first = read_robocalls(connection, days, LIMITS, UTC_ZONE, business=FIRST)
        listed, _ = list_robocallers(connection, days, LIMITS, UTC_ZONE)
    assert found.unknown_days == {DAY - timedelta(days=1)}, "its seven days begin before the first that was rolled up"
    assert found.total == Robocalls(
        callers=2, businesses=2, calls=23, missed=23, in_time=0, late=1, never=22, unknown=0, texts=1,
        texts_usd=Decimal("0.01"), openai_usd=Decimal("0.5"),
    )  # fmt: skip
    assert [(name, each.calls) for name, each in found.by_business] == [("Business 1", 22), ("Business 5", 1)]
    assert of_first.total.calls == 22
    assert [(each.customer_key, each.businesses, each.most_a_day) for each in listed] == [
        (customer_key(OFTEN, CUSTOMER_SECRET), 1, 21),
        (customer_key(SPREAD, CUSTOMER_SECRET), 5, 1),
    ]
    rest = without(totals[DAY], found.total)
    assert (rest.missed, rest.in_time, rest.late, rest.never, rest.unknown) == (4, 0, 1, 3, 0)
    assert totals[DAY].missed == 27, "the promise figure itself keeps them"


def test_digest_stats_page_and_command_show_both_and_say_unknown_where_a_day_of_the_seven_is_missing(
    loaded: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with loaded.engine.connect() as connection:
        digest = "\n".join(read_digest(connection, loaded.settings(), DAY))
        before = "\n".join(read_digest(connection, loaded.settings(), DAY - timedelta(days=1)))
        ask = Ask(loaded.settings(), _at(9), path={"business": str(FIRST)}, query={"to": str(DAY)})
        page = business_page.view(connection, ask)
    assert "2 likely robocallers: 23 calls of 2 businesses (Business 1 22, Business 5 1), 23 missed;" in digest
    assert "1 text to them (about 0.01 USD), OpenAI 0.50 USD; without them 4 missed calls: 0 answered in time" in digest
    assert "Likely robocallers" not in digest
    assert "Likely robocallers among them" in before
    (line,) = page.lines
    assert line.text.startswith("2 likely robocallers: 22 calls, 22 missed;")
    assert line.text.endswith("6 days unknown and not counted here.")
    table = next(each for each in page.tables if each.name == "robocallers")
    assert (table.rows[0]["missed"], table.rows[0]["missed_without"], table.rows[1]["callers"]) == (23, 1, None)
    shown = _run(capsys, monkeypatch)
    code, out, _ = shown("stats", "--date", str(DAY))
    assert code == 0
    assert "2 likely robocallers: 23 calls" in out
    _, out, _ = shown("stats", "--date", str(DAY), "--json")
    (first,) = [row for row in json.loads(out) if row["business"] == "Business 1"]
    assert (first["calls_missed"], first["calls_missed_without_robocallers"], first["likely_robocallers"]) == (23, 1, 2)
    _, out, _ = shown("stats", "--date", str(DAY - timedelta(days=2)), "--json")
    assert {row["likely_robocallers"] for row in json.loads(out)} == {None}
    code, out, err = shown("customers", "robocallers", "--from", str(BEGIN), "--to", str(DAY))
    assert code == 3
    assert "unknown for 8 days" in err
    assert str(customer_key(OFTEN, CUSTOMER_SECRET))[:12] in out
    assert "0100002" not in out + err + digest


def _run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    import sys

    from smarttext_pipelines.cli.main import run

    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["smarttext", *arguments])
        try:
            code = run()
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call
