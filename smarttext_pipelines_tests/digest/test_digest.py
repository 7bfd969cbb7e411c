"""The digest reads what was rolled up, and is told once through the outbox."""

import email
import email.policy
import html
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from smarttext_pipelines.alerting.evaluation_service import configured_channels, deliver_now
from smarttext_pipelines.budgets.month import read_month
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.digest.enqueue import build_digest, enqueue_digest, read_digest
from smarttext_pipelines.digest.facts import comparable_days
from smarttext_pipelines.digest.forms import Form, in_form
from smarttext_pipelines.digest.weekly import week_lines
from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database
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


@pytest.fixture(scope="module")
def weeks(server: Server, template: str) -> Iterator[str]:
    """Return the name of a database with five rolled-up Mondays, which each test gets a copy of."""
    with fresh_database(server, template) as database:
        _fill(database)
        database.engine.dispose()
        yield database.name


@pytest.fixture
def rolled_up(server: Server, weeks: str) -> Iterator[Database]:
    with fresh_database(server, weeks) as database:
        yield database


def _fill(database: Database) -> None:
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


def test_it_names_who_got_no_text_what_it_cost_and_who_is_silent(rolled_up: Database) -> None:
    with rolled_up.engine.connect() as connection:
        lines = read_digest(connection, rolled_up.settings(), DAY)
    text = "\n".join(lines)
    assert lines[0] == "Worth a look, Monday 16 March 2026: OpenAI cost 1.50 USD (usually 0.00), Business 2 silent"
    assert "4 missed calls: 3 got a text within 5 min (75.00 %; usually 100.00 %), 0 later, 1 never" in text
    assert "Without a text: 1 of 4 callers in all" in text
    assert "OpenAI 1.50 USD" in text
    assert "texts 0.25 USD" in text
    assert "1.75 USD this month, 3.39 expected" in text
    assert f"Business 2. `smarttext stats --business {BUSINESS_IDS[1]} --from 2026-03-09 --to 2026-03-16`" in text
    assert "+1555" not in text


def test_incidents_are_those_of_the_day_with_begin_and_end_and_not_those_open_now(rolled_up: Database) -> None:
    for number, (severity, fired, ended) in enumerate(
        [("critical", AT, AT + timedelta(hours=2)), ("critical", AT - timedelta(days=3), AT - timedelta(days=2)),
         ("warning", AT + timedelta(days=2), None)]
    ):  # fmt: skip
        rolled_up.run(
            "INSERT INTO monitoring.incidents (rule, scope, business_id, state, severity, since, fired_at, resolved_at,"
            " evaluated_at) VALUES ('sms_failure_rate', %s, %s, %s, %s, %s, %s, %s, now())",
            f"business:{number}", FIRST, "resolved" if ended else "firing", severity, fired, fired, ended,
        )  # fmt: skip
    with rolled_up.engine.connect() as connection:
        lines = read_digest(connection, rolled_up.settings(), DAY)
    assert lines[0] == "Bad day, Monday 16 March 2026: an incident of Business 1 (sms failure rate)"
    assert [line for line in lines if "INC-" in line] == [
        "INC-1 sms_failure_rate, critical, Business 1: 12:00 to 14:00. `smarttext alerts show 1`"
    ]
    assert lines[-1] == "Times: UTC."


def test_a_day_with_incidents_is_left_out_of_what_is_usual(rolled_up: Database) -> None:
    at = AT - timedelta(weeks=1)
    with rolled_up.engine.connect() as connection:
        assert comparable_days(connection, DAY, ZoneInfo("UTC")) == [DAY - timedelta(weeks=n) for n in range(1, 5)]
    rolled_up.run(
        "INSERT INTO monitoring.incidents (rule, scope, state, severity, since, fired_at, resolved_at, evaluated_at)"
        " VALUES ('sms_failure_rate', 'platform', 'resolved', 'critical', %s, %s, %s, now())", at, at, at,
    )  # fmt: skip
    with rolled_up.engine.connect() as connection:
        assert comparable_days(connection, DAY, ZoneInfo("UTC")) == [DAY - timedelta(weeks=n) for n in range(2, 5)]


def test_a_budget_that_was_crossed_is_told_with_its_share(rolled_up: Database) -> None:
    rolled_up.run(
        "INSERT INTO monitoring.budget_crossings (business_id, day, unit, threshold_percent, used, allowed)"
        " VALUES (%s, %s, 'tokens', 100, 104, 100)", FIRST, DAY,
    )  # fmt: skip
    with rolled_up.engine.connect() as connection:
        lines = read_digest(connection, rolled_up.settings(), DAY)
    assert "Business 1 used 104 % of its OpenAI budget" in lines[0]


def test_the_week_says_what_is_usual_or_how_many_days_it_lacks(rolled_up: Database) -> None:
    with rolled_up.engine.connect() as connection:
        (line,) = week_lines(connection, DAY, 5)
        assert "only 1 of 7 days was rolled up" in line.text
    roll_up_all(rolled_up.engine, DayRange(DAY - timedelta(days=34), DAY))
    with rolled_up.engine.connect() as connection:
        (line,) = week_lines(connection, DAY, 5)
    assert "The week from 2026-03-10 to 2026-03-16: 4 missed calls, 75.00 % answered within 5 min" in line.text
    assert "(weeks before: 100.00 %)" in line.text


@pytest.mark.parametrize("form", Form)
def test_each_form_says_the_same_and_shows_names_as_text(rolled_up: Database, form: Form) -> None:
    rolled_up.run("UPDATE public.businesses SET name = '<b>*Tom & Co*</b>' WHERE id = %s", BUSINESS_IDS[1])
    with rolled_up.engine.connect() as connection:
        written = in_form(build_digest(connection, rolled_up.settings(), DAY), form)
    assert "Monday 16 March 2026" in written
    assert f"smarttext stats --date {DAY}" in written
    if form is Form.html:
        assert "&lt;b&gt;*Tom &amp; Co*" in written
        assert max(map(len, written.splitlines())) < 600
    if form is Form.json:
        assert json.loads(written)["state"] == "look"


def test_a_month_that_lacks_a_day_is_not_extrapolated(rolled_up: Database) -> None:
    rolled_up.run(
        "DELETE FROM monitoring.rollup_days WHERE row_day = %s AND table_name = 'api_usage'", DAY.replace(day=3)
    )
    with rolled_up.engine.connect() as connection:
        text = "\n".join(read_digest(connection, rolled_up.settings(), DAY))
    assert "1.75 USD this month; only 15 of its 16 days were rolled up." in text
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
    assert "no call and no text" in text
    assert "was not rolled up" not in text
    assert "partial" not in text
    assert "Nothing happened, Sunday 15 March 2026" in text


def test_days_that_changed_are_told_but_not_those_a_new_installation_wrote_first(rolled_up: Database) -> None:
    def told() -> str:
        with rolled_up.engine.connect() as connection:
            return "\n".join(read_digest(connection, rolled_up.settings(), DAY))

    assert "earlier days changed" not in told()
    rolled_up.run("UPDATE monitoring.installation SET installed_at = '2026-01-01'")
    assert "earlier days changed: 2026-02-16, 2026-02-23, 2026-03-02, 2026-03-09" in told()


def test_a_day_that_was_not_rolled_up_is_not_called_well(database: Database) -> None:
    with database.engine.connect() as connection:
        assert read_digest(connection, database.settings(), DAY)[0].startswith("Unknown, Monday 16 March 2026")


def test_it_is_told_once_to_each_recipient_however_often_it_is_enqueued(rolled_up: Database, tmp_path: Any) -> None:
    settings = rolled_up.settings(data_dir=tmp_path)
    channels = configured_channels(settings)
    for _ in range(2):
        with rolled_up.engine.begin() as connection:
            enqueue_digest(connection, settings, channels, DAY)
        deliver_now(rolled_up.engine, channels, budget_seconds=5)
    assert (tmp_path / "alerts.log").read_text().count("Worth a look, Monday 16 March 2026") == 1
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
    for mail in box.mails:
        parsed = email.message_from_string(mail, policy=email.policy.default)
        assert parsed["To"] == "team@example.com"
        assert abs(datetime.now(UTC) - parsed["Date"].datetime) < timedelta(minutes=5)
        assert [part.get_content_type() for part in parsed.walk()] == [
            "multipart/alternative",
            "text/plain",
            "text/html",
        ]
        assert max(map(len, mail.splitlines())) < 998
        lines = [line for line in box.body(mail).splitlines() if line]
        page = box.body(mail, "html")
        assert all(html.escape(line) in page for line in lines)
    ((row),) = rolled_up.rows("SELECT status, recipient FROM monitoring.notifications")
    assert row["status"] == ("dead" if refuse else "sent")
    assert "example" not in row["recipient"]
