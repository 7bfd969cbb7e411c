"""Outcomes and prices come from a Twilio that answers over real HTTP through the real SDK, and come once."""

import itertools
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import SmartTextError
from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines.schema.tables.source_tables import sms_events
from smarttext_pipelines.twilio import Fetched, count_waiting, fetch_reports
from smarttext_pipelines.twilio.client import build_twilio_client
from smarttext_pipelines_tests.conftest import SOAK, Database
from smarttext_pipelines_tests.events import cells, replace_events, roll_up_all
from smarttext_pipelines_tests.fakes.server import Reply, serving
from smarttext_pipelines_tests.fakes.twilio import FakeTwilio
from smarttext_pipelines_tests.strategies import BUSINESS_IDS, business, events, sms_event

NOW = datetime(2026, 3, 13, 12, tzinfo=UTC)
DAY = date(2026, 3, 12)
MESSAGES = 50_000 if SOAK else 5_000
FINAL = (("delivered", None), ("undelivered", "30003"), ("failed", "30007"), ("read", None))


@pytest.fixture
def twilio() -> Iterator[FakeTwilio]:
    with serving(FakeTwilio()) as server:
        server.now = NOW.timestamp()
        yield server


def _fetch(database: Database, twilio: FakeTwilio, now: datetime = NOW, **options: Any) -> Fetched:
    client = build_twilio_client("AC" + "0" * 32, "token", base_url=twilio.url)
    options = {"sleep": lambda _: None, **options}
    return fetch_reports(database.engine, client, now=now, **options)


def _text(number: int, hours_ago: float, **columns: Any) -> dict[str, Any]:
    at = NOW - timedelta(hours=hours_ago)
    given = {
        "message_sid": f"SM{number:032x}",
        "business_id": BUSINESS_IDS[0],
        "from_number": "+15550001000",
        **columns,
    }
    return sms_event(number, at, **given)


def _load(database: Database, *rows: dict[str, Any]) -> None:
    replace_events(database.engine, events(businesses=[business(1)], sms_events=rows))


def _reports(database: Database) -> list[tuple[Any, ...]]:
    rows = database.rows(
        "SELECT message_sid, status, error_code, business_id, to_number, created_at, payload::text AS payload"
        " FROM public.sms_events WHERE request_id = 'twilio-report' ORDER BY message_sid, status"
    )
    return [tuple(row.values()) for row in rows]


def _hold(twilio: FakeTwilio, row: dict[str, Any], status: str, **said: Any) -> dict[str, Any]:
    return twilio.hold(row["message_sid"], row["created_at"].timestamp(), status=status, **said)


def test_an_outcome_is_appended_without_text_and_once(database: Database, twilio: FakeTwilio) -> None:
    row = _text(1, 20)
    _load(database, row)
    _hold(twilio, row, "undelivered", error_code=30003, price="-0.00790", price_unit="USD")
    assert _fetch(database, twilio).counts["statuses_written"] == 1
    ((sid, status, error, owner, to, at, payload),) = _reports(database)
    assert (sid, status, error, owner, to, at) == (
        row["message_sid"], "undelivered", "30003", None, row["to_number"], NOW
    )  # fmt: skip
    assert "Jane" not in payload
    calls = len(twilio.requests)
    for hours in range(1, 60):
        assert _fetch(database, twilio, NOW + timedelta(hours=hours)).counts["due"] == 0
    assert len(twilio.requests) == calls
    assert len(_reports(database)) == 1


def test_a_price_is_one_row_of_the_messages_day_and_business(database: Database, twilio: FakeTwilio) -> None:
    rows = [_text(n, 20) for n in range(1, 4)]
    _load(database, *rows)
    _hold(twilio, rows[0], "delivered", price="-0.00790", price_unit="USD")
    unpriced = _hold(twilio, rows[1], "delivered", price=None)
    _hold(twilio, rows[2], "delivered", price="-0.01", price_unit="EUR")
    assert _fetch(database, twilio).counts["other_currency"] == 1
    unpriced["price"] = "-0.0158"
    for hours in (1, 10, 20, 30):
        _fetch(database, twilio, NOW + timedelta(hours=hours))
    found = database.rows(
        "SELECT service, endpoint, business_id, cost_estimate, reset_date, tokens_used FROM public.api_usage"
        " ORDER BY cost_estimate"
    )
    assert [tuple(r.values()) for r in found] == [
        ("twilio", "sms", BUSINESS_IDS[0], Decimal(cost), DAY, 0) for cost in ("0.007900", "0.015800")
    ]
    roll_up_all(database.engine, DayRange(DAY, DAY))
    assert [(r["service"], r["request_count"], r["cost_usd"]) for r in cells(database.engine, "spend", DAY)] == [
        ("twilio", 2, Decimal("0.023700"))
    ]


def _page(database: Database, twilio: FakeTwilio) -> list[dict[str, Any]]:
    """Hold a page of Twilio's list in which one message was read."""
    rows = [_text(n, 20) for n in range(1, 8)]
    _load(database, *rows)
    for n, row in enumerate(rows):
        _hold(twilio, row, "read" if n == 3 else "delivered", price="-0.00790", price_unit="USD")
    return rows


REFUSING = {
    "a constraint": (
        "ALTER TABLE public.sms_events ADD CONSTRAINT sms_status_known CHECK (status IN ('queued', 'delivered'))",
        "ALTER TABLE public.sms_events DROP CONSTRAINT sms_status_known",
        "constraint sms_status_known",
    ),
    "a trigger": (
        "CREATE FUNCTION public.only_known() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.status = 'read' THEN RAISE 'not % of %', NEW.status, NEW.to_number USING ERRCODE = 'PT400'; END IF;"
        " RETURN NEW; END $$;"
        "CREATE TRIGGER only_known BEFORE INSERT ON public.sms_events FOR EACH ROW"
        " EXECUTE FUNCTION public.only_known()",
        "DROP TRIGGER only_known ON public.sms_events",
        "function public.only_known (PT400)",
    ),
}


@pytest.mark.parametrize("kind", REFUSING)
def test_of_a_page_with_a_row_that_is_refused_the_others_stand_and_it_is_kept_and_written_later(
    kind: str, database: Database, twilio: FakeTwilio
) -> None:
    refuses, allows, said = REFUSING[kind]
    rows = _page(database, twilio)
    database.run(refuses)
    done = _fetch(database, twilio)
    assert (done.counts["statuses_written"], done.counts["prices_written"], done.counts["refused_rows"]) == (6, 7, 1)
    (kept,) = database.rows("SELECT * FROM monitoring.refused_rows")
    assert (kept["table_name"], kept["reason"], kept["refused_count"]) == ("sms_events", said, 1)
    assert kept["row"]["sid"] == rows[3]["message_sid"]
    assert rows[3]["to_number"] not in str(kept)
    later = NOW + timedelta(hours=2)
    assert count_waiting(database.engine, later) >= 1
    assert _fetch(database, twilio, later).counts["refused_rows"] >= 1
    database.run(allows)
    assert _fetch(database, twilio, NOW + timedelta(days=5)).counts["statuses_written"] == 1
    assert database.rows("SELECT * FROM monitoring.refused_rows") == []
    assert len(_reports(database)) == 7


def test_where_reports_cannot_be_written_at_all_twilio_is_not_asked(database: Database, twilio: FakeTwilio) -> None:
    database.run(
        "ALTER TABLE public.sms_events RENAME TO texts; CREATE VIEW public.sms_events AS SELECT * FROM public.texts"
    )
    with pytest.raises(SmartTextError, match=r"public.sms_events is a view: what Twilio says cannot be written"):
        _fetch(database, twilio)
    assert twilio.requests == []


@pytest.mark.parametrize(
    "row",
    [
        _text(1, 0.01),
        _text(1, 73),
        _text(1, 20, message_sid=""),
        _text(1, 20, message_sid="RATE_LIMITED"),
        _text(1, 20, status="received"),
    ],
    ids=["too young", "too old", "no sid", "placeholder", "inbound"],
)
def test_what_cannot_change_is_not_asked_for(database: Database, twilio: FakeTwilio, row: dict[str, Any]) -> None:
    _load(database, row)
    assert count_waiting(database.engine, NOW) == 0
    _fetch(database, twilio)
    assert not twilio.requests


def test_a_status_that_stands_already_is_not_written_again(database: Database, twilio: FakeTwilio) -> None:
    row = _text(1, 20, status="Queued")
    _load(database, row)
    held = _hold(twilio, row, "queued")
    assert _fetch(database, twilio).counts["statuses_written"] == 0
    held["status"] = "sent"
    _fetch(database, twilio, NOW + timedelta(hours=6))
    held["status"] = "delivered"
    _fetch(database, twilio, NOW + timedelta(hours=14))
    assert [status for _, status, *_ in _reports(database)] == ["delivered", "sent"]


def test_a_message_that_twilio_never_finishes_costs_few_questions(database: Database, twilio: FakeTwilio) -> None:
    row = _text(1, 0.1)
    _load(database, row)
    _hold(twilio, row, "sent")
    step = 15 if SOAK else 60
    for minutes in range(0, 80 * 60, step):
        _fetch(database, twilio, NOW + timedelta(minutes=minutes))
    assert 10 < len(twilio.requests) < 40


@pytest.mark.parametrize("messages", [1, 10])
def test_wrong_credentials_are_one_line_and_asked_once(database: Database, twilio: FakeTwilio, messages: int) -> None:
    """For a message and for a list, whose refusal the SDK raises in another form."""
    _load(database, *(_text(n, 20) for n in range(1, messages + 1)))
    twilio.answer = lambda *_: Reply(  # type: ignore[method-assign]
        401, '{"code": 20003, "message": "Authenticate", "status": 401}'
    )
    with pytest.raises(SmartTextError, match=r"^Twilio refused: 401, code 20003"):
        _fetch(database, twilio)
    assert len(twilio.requests) == 1


def test_every_outcome_arrives_through_faults_and_interruptions_and_none_twice(
    database: Database, twilio: FakeTwilio, capsys: pytest.CaptureFixture[str]
) -> None:
    """Paging, lag, bursts of 429, resets in the middle of a page, sids nobody recorded, ten runs that are cut short."""
    chance = random.Random(11)
    rows = [_text(n, chance.uniform(0.1, 71)) for n in range(1, MESSAGES + 1)]
    _load(database)
    with database.engine.begin() as connection:
        connection.execute(insert(sms_events), rows)
    expected = {}
    for row in rows:
        status, error = chance.choice(FINAL)
        expected[row["message_sid"]] = status
        _hold(twilio, row, status, error_code=error, price="-0.0079", price_unit="USD")
    for n in range(MESSAGES // 20):
        twilio.hold(f"SMforeign{n}", (NOW - timedelta(hours=chance.uniform(0, 72))).timestamp(), status="delivered")
    twilio.messages.sort(key=lambda m: m["at"])
    twilio.lag_seconds = 300
    burst = ["429"] * 3 + [""] * 2 + ["half_answer", "500", ""]
    twilio.look_up_faults = list(itertools.islice(itertools.cycle(burst), 24))
    waits: list[float] = []
    cut = [_fetch(database, twilio, max_calls=calls, sleep=waits.append) for calls in (1, 2, 3, 4, 5) * 2]
    assert all(run.ended_early for run in cut[:5])
    last = _fetch(database, twilio, sleep=waits.append)
    assert last.ended_early is None
    assert {sid: status for sid, status, *_ in _reports(database)} == expected
    assert len(_reports(database)) == len(expected)
    assert database.rows("SELECT count(*) AS n FROM public.api_usage") == [{"n": len(expected)}]
    assert 7 in waits  # what Retry-After asked for
    calls = len(twilio.requests)
    faults = sum(twilio.met.values())
    with capsys.disabled():
        per_thousand = 1000 * calls / MESSAGES
        print(f"\n{MESSAGES} messages: {calls} calls, {faults} of them faults, {per_thousand:.1f} per 1,000")  # noqa: T201
    assert (calls - faults) / (MESSAGES / 1000) < 8
    assert _fetch(database, twilio).counts["due"] == 0


def test_all_orders_of_five_rows_are_one_outcome(database: Database) -> None:
    said = [("queued", None), ("sent", None), ("failed", "30008"), ("delivered", None), ("sending", None)]
    orders = list(itertools.permutations(said))
    _load(
        database,
        *(
            _text(m * 5 + n, 30 - n / 60, message_sid=f"SM{m}", status=status, error_code=error)
            for m, order in enumerate(orders)
            for n, (status, error) in enumerate(order)
        ),
    )
    roll_up_all(database.engine, DayRange(DAY, DAY), metrics={"sms_outcomes": METRICS["sms_outcomes"]})
    (outcome,) = cells(database.engine, "sms_outcomes")
    assert (outcome["status"], outcome["message_count"], len(orders)) == ("delivered", 120, 120)


def test_a_late_report_changes_the_day_of_its_message_only_and_is_no_attempt(
    database: Database, twilio: FakeTwilio
) -> None:
    row = _text(1, 70)
    _load(database, row, _text(2, 1, status="delivered"))
    days = DayRange(row["created_at"].date(), NOW.date())
    roll_up_all(database.engine, days)
    before = {(r["day"], r["status"]): r["message_count"] for r in cells(database.engine, "sms_outcomes")}
    _hold(twilio, row, "undelivered", error_code=30003)
    _fetch(database, twilio)
    roll_up_all(database.engine, days)
    after = {(r["day"], r["status"]): r["message_count"] for r in cells(database.engine, "sms_outcomes")}
    first, last = days.first, days.last
    assert before == {(first, "queued"): 1, (last, "delivered"): 1}
    assert after == {(first, "undelivered"): 1, (last, "delivered"): 1}


def test_a_price_belongs_to_the_messages_day_where_time_says_the_day_of_usage(
    database: Database, twilio: FakeTwilio
) -> None:
    database.run("UPDATE monitoring.installation SET reporting_timezone = 'Asia/Tokyo', reset_date_zone = 'UTC'")
    row = _text(1, 40)
    _load(database, row)
    _hold(twilio, row, "delivered", price="-0.00790", price_unit="USD")
    _fetch(database, twilio)
    at = row["created_at"]
    day = at.astimezone(ZoneInfo("Asia/Tokyo")).date()
    assert day != NOW.astimezone(ZoneInfo("Asia/Tokyo")).date()
    assert database.rows("SELECT reset_date FROM public.api_usage") == [{"reset_date": at.date()}]
    roll_up_all(database.engine, DayRange(day, day).widen(3), zone="Asia/Tokyo")
    assert [r["day"] for r in cells(database.engine, "spend")] == [day]
