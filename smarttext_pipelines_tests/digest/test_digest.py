"""The digest reads what was rolled up, and is told once through the outbox."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from smarttext_pipelines.alerting.evaluation_service import configured_channels, deliver_now
from smarttext_pipelines.budgets.month import read_month
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.digest.enqueue import enqueue_digest, read_digest
from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import replace_events, roll_up_all
from smarttext_pipelines_tests.fakes.smtp import Mailbox, mailbox
from smarttext_pipelines_tests.strategies import (
    BUSINESS_IDS,
    api_call,
    business,
    call_event,
    events,
    sms_event,
)

DAY = date(2026, 3, 16)
AT = datetime(2026, 3, 16, 12, tzinfo=UTC)
FIRST = BUSINESS_IDS[0]


def _call(number: int, at: datetime, caller: str) -> dict[str, Any]:
    return call_event(
        number, at, call_sid=f"CA{number}", business_id=FIRST, event_type="voice.missed", from_number=caller
    )


def _text(number: int, at: datetime, to: str, status: str) -> dict[str, Any]:
    return sms_event(number, at, message_sid=f"SM{number}", business_id=FIRST, to_number=to, status=status)


@pytest.fixture
def rolled_up(database: Database) -> Database:
    calls, texts = [], []
    for week in range(5):
        at = AT - timedelta(weeks=week)
        for n in range(4):
            caller = f"+1555010{week:02}{n:02}"
            calls.append(_call(10 * week + n, at, caller))
            if week or n:
                texts.append(_text(10 * week + n, at + timedelta(minutes=1), caller, "delivered"))
    usage = [
        api_call(1, AT, business_id=FIRST, tokens_used=10, cost_estimate=Decimal("1.50")),
        api_call(2, AT, business_id=FIRST, service="twilio", endpoint="sms", cost_estimate=Decimal("0.25")),
    ]
    # Tuesday's shop was there on every Monday but this one.
    silent = [
        call_event(100 + week, AT - timedelta(weeks=week), call_sid=f"CB{week}", business_id=BUSINESS_IDS[1])
        for week in range(1, 5)
    ]
    replace_events(
        database.engine,
        events(businesses=[business(1), business(2)], call_events=[*calls, *silent], sms_events=texts, api_usage=usage),
    )
    for week in range(5):
        day = DAY - timedelta(weeks=week)
        roll_up_all(database.engine, DayRange(day, day))
    roll_up_all(database.engine, DayRange(DAY.replace(day=1), DAY), metrics={"spend": METRICS["spend"]})
    return database


def test_it_names_who_got_no_text_what_it_cost_and_who_is_silent(rolled_up: Database) -> None:
    with rolled_up.engine.connect() as connection:
        lines = read_digest(connection, rolled_up.settings(), DAY)
    text = "\n".join(lines)
    assert lines[1] == "4 missed calls, 3 got a text within 5 min (75 %; usual on a Monday: 100.00 %)."
    assert "No text at all: 1 caller: Business 1 1 of 4." in lines
    assert "OpenAI 1.50 + SMS 0.25 USD" in text
    assert "1.75 this month, 3.39 expected" in text
    assert "Silent, unlike other Mondays: Business 2." in lines
    assert "+1555" not in text


def test_a_month_that_lacks_a_day_is_not_extrapolated(rolled_up: Database) -> None:
    rolled_up.run(
        "DELETE FROM monitoring.rollup_days WHERE row_day = %s AND table_name = 'api_usage'", DAY.replace(day=3)
    )
    with rolled_up.engine.connect() as connection:
        text = "\n".join(read_digest(connection, rolled_up.settings(), DAY))
    assert "1.75 this month without 1 day not rolled up." in text
    assert "expected" not in text


def test_a_day_that_is_not_over_says_nothing_about_the_pace_of_the_month(rolled_up: Database) -> None:
    with rolled_up.engine.connect() as connection:
        over, begun = (read_month(connection, DAY, is_over=is_over) for is_over in (True, False))
    assert (over.month_usd, over.expected_usd is None) == (begun.month_usd, False)
    assert begun.expected_usd is None


def test_a_day_without_a_missed_call_or_without_any_event_is_known_to_be_so(rolled_up: Database) -> None:
    """The facts have no row for what did not happen; that the day was read stands in rollup_days."""
    sunday = DAY - timedelta(days=1)
    roll_up_all(rolled_up.engine, DayRange(sunday, sunday))
    with rolled_up.engine.connect() as connection:
        text = "\n".join(read_digest(connection, rolled_up.settings(), sunday))
    assert "No missed call. No text was sent." in text
    assert "smarttext rollup" not in text
    assert "partial" not in text


def test_days_that_changed_are_told_but_not_those_a_new_installation_wrote_first(rolled_up: Database) -> None:
    def told() -> str:
        with rolled_up.engine.connect() as connection:
            return "\n".join(read_digest(connection, rolled_up.settings(), DAY))

    assert "Restated" not in told()
    rolled_up.run("UPDATE monitoring.installation SET installed_at = '2026-01-01'")
    assert "Restated: 2026-02-16, 2026-02-23, 2026-03-02, 2026-03-09" in told()


def test_a_day_that_was_not_rolled_up_is_not_called_well(database: Database) -> None:
    with database.engine.connect() as connection:
        assert "nothing is known" in read_digest(connection, database.settings(), DAY)[0]


def test_it_is_told_once_to_each_recipient_however_often_it_is_enqueued(rolled_up: Database, tmp_path: Any) -> None:
    settings = rolled_up.settings(data_dir=tmp_path)
    channels = configured_channels(settings)
    for _ in range(2):
        with rolled_up.engine.begin() as connection:
            enqueue_digest(connection, settings, channels, DAY)
        deliver_now(rolled_up.engine, channels, budget_seconds=5)
    assert (tmp_path / "alerts.log").read_text().count("SmartText, Monday 16 March 2026") == 1
    with rolled_up.engine.begin() as connection:
        enqueue_digest(connection, settings, channels, DAY - timedelta(weeks=1))
    deliver_now(rolled_up.engine, channels, budget_seconds=5)
    assert rolled_up.rows("SELECT status, count(*) AS n FROM monitoring.notifications GROUP BY 1") == [
        {"status": "sent", "n": 2}
    ]


@pytest.fixture
def mail() -> Iterator[tuple[str, type[Mailbox]]]:
    with mailbox() as served:
        yield served


@pytest.mark.parametrize("refuse", [False, True])
def test_it_is_mailed_and_a_refused_address_is_given_up(
    rolled_up: Database, mail: tuple[str, type[Mailbox]], tmp_path: Any, refuse: bool
) -> None:
    url, box = mail
    box.refuse = refuse
    settings = rolled_up.settings(
        data_dir=tmp_path, smtp_url=url, smtp_from="smarttext@example.com", digest_emails="team@example.com"
    )
    channels = configured_channels(settings)
    with rolled_up.engine.begin() as connection:
        enqueue_digest(connection, settings, channels, DAY)
    deliver_now(rolled_up.engine, channels, budget_seconds=5)
    assert len(box.mails) == (0 if refuse else 1)
    assert all("To: team@example.com" in each for each in box.mails)
    ((row),) = rolled_up.rows("SELECT status, recipient FROM monitoring.notifications")
    assert row["status"] == ("dead" if refuse else "sent")
    assert "example" not in row["recipient"]
