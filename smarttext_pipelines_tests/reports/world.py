"""A month of March with a business that was always there, one that joined on the 20th, and one without an event."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import replace_events, roll_up_all
from smarttext_pipelines_tests.strategies import BUSINESS_IDS, api_call, business, call_event, events, sms_event

FIRST, LAST = date(2026, 3, 1), date(2026, 3, 31)
MARCH = DayRange(FIRST, LAST)
ALWAYS, JOINED, QUIET, NEVER = BUSINESS_IDS
OUR_NUMBER = "+15550100777"
CALLER = "+1555019"
"""What the number of every caller begins with."""


def _at(day: date, hour: int, minute: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)


def _day(day: date, owner: Any, base: int) -> dict[str, list[dict[str, Any]]]:
    """Return three missed calls, answered in time, late and never, one call that was not missed, and the texts."""
    calls, texts = [], []
    for n, (hour, wait, status) in enumerate([(9, 1, "delivered"), (9, 90, "delivered"), (17, 1, "undelivered")]):
        number, caller = base + n, f"{CALLER}{base + n:05}"
        calls.append(
            call_event(number, _at(day, hour), call_sid=f"CA{number}", business_id=owner, event_type="voice.missed",
                       from_number=caller)
        )  # fmt: skip
        code = "30003" if status == "undelivered" else None
        at = _at(day, hour) + timedelta(minutes=wait)
        texts.append(
            sms_event(number, at, message_sid=f"SM{number}", business_id=owner, to_number=caller,
                      from_number=OUR_NUMBER, status=status, error_code=code)
        )  # fmt: skip
    calls.append(
        call_event(base + 3, _at(day, 12), call_sid=f"CA{base + 3}", business_id=owner, from_number=f"{CALLER}99999")
    )
    usage = [
        api_call(base, _at(day, 9), business_id=owner, tokens_used=10, cost_estimate=Decimal("0.001234")),
        api_call(base + 1, _at(day, 9), business_id=owner, service="twilio", endpoint="sms",
                 cost_estimate=Decimal("0.0079")),
    ]  # fmt: skip
    return {"call_events": calls, "sms_events": texts, "api_usage": usage}


def fill(database: Database, days: DayRange = MARCH) -> None:
    """Write the events, and roll some days up, and the day in February on which the quiet business had a call."""
    parts = [_day(day, ALWAYS, 100 * day.day) for day in MARCH]
    parts += [_day(day, JOINED, 100 * day.day + 50) for day in MARCH if day.day >= 20]
    february = date(2026, 2, 10)
    parts.append({"call_events": [call_event(1, _at(february, 9), call_sid="CA1", business_id=QUIET)]})
    names = {name for part in parts for name in part}
    found = {name: [row for part in parts for row in part.get(name, ())] for name in names}
    owners = [business(1, twilio_phone=OUR_NUMBER), business(2), business(3), business(4)]
    replace_events(database.engine, events(businesses=owners, **found))
    roll_up_all(database.engine, DayRange(february, february))
    roll_up_all(database.engine, days)
