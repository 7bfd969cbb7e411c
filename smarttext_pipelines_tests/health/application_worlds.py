"""Applications that are measured well, and those that leave one thing out."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from smarttext_pipelines.health.verdicts import State
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import insert_events
from smarttext_pipelines_tests.strategies import (
    BUSINESS_IDS,
    Row,
    api_call,
    business,
    call_event,
    events,
    owner_alert,
    sms_event,
)

AT = datetime.now(UTC) - timedelta(hours=5)
BUSINESS = BUSINESS_IDS[0]
COUNT = 20


def texts(count: int = COUNT, **columns: Any) -> list[Row]:
    """Texts that were queued, each with a sid of its own."""
    return [
        sms_event(n, AT, **{"message_sid": f"SM{n}", "business_id": BUSINESS, "request_id": f"req-{n}", **columns})
        for n in range(count)
    ]


def reports(count: int, status: str = "delivered") -> list[Row]:
    """Status callbacks of the first texts, without business or request, as a webhook knows them."""
    later = AT + timedelta(minutes=1)
    return [sms_event(1000 + n, later, message_sid=f"SM{n}", status=status) for n in range(count)]


def calls(count: int = COUNT, **columns: Any) -> list[Row]:
    given = {"business_id": BUSINESS, "event_type": "voice.missed"}
    return [call_event(n, AT, **{"call_sid": f"CA{n}", **given, **columns}) for n in range(count)]


def usage(count: int = COUNT, *, first: int = 0, **columns: Any) -> list[Row]:
    given = {"tokens_used": 90, "cost_estimate": "0.002", "business_id": BUSINESS}
    return [
        api_call(n, AT, **{**given, "reset_date": AT.date(), "request_id": f"req-{n}", **columns})
        for n in range(first, first + count)
    ]


def alerts(count: int = COUNT) -> list[Row]:
    return [owner_alert(n, AT, message_sid=f"SM{n}", delivered=True) for n in range(count)]


def put(database: Database, **tables: list[Row]) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("TRUNCATE public.businesses CASCADE"))
        connection.execute(text("TRUNCATE public.sms_events, public.call_events, public.api_usage"))
        insert_events(connection, events(businesses=[business(1), business(2)], **tables))


GREEN: dict[str, list[Row]] = {
    "sms_events": [
        *texts(),
        *reports(COUNT - 2),
        *[sms_event(2000 + n, AT, message_sid=f"SMO{n}", request_id=f"CA{n}-owner", business_id=BUSINESS, status="read")
          for n in range(COUNT)],
    ],
    "call_events": calls(),
    "api_usage": usage(),
    "owner_alerts": [owner_alert(n, AT, message_sid=f"SMO{n}", delivered=True) for n in range(COUNT)],
}  # fmt: skip
"""An application that does all of it."""

RED: dict[str, tuple[str, State, dict[str, list[Row]]]] = {
    "no callback": ("status callbacks", State.fail, {"sms_events": texts()}),
    "only 14 of 20 callbacks": ("status callbacks", State.warn, {"sms_events": [*texts(), *reports(14)]}),
    "sent is not final": ("status callbacks", State.fail, {"sms_events": [*texts(), *reports(COUNT, "sent")]}),
    "texts without a sid have no outcome": ("status callbacks", State.fail, {"sms_events": texts(message_sid=None)}),
    "no sid": ("message sids", State.fail, {"sms_events": texts(message_sid=None)}),
    "a word for none": ("message sids", State.fail, {"sms_events": texts(message_sid="undefined")}),
    "some without a sid": ("message sids", State.warn, {"sms_events": [*texts(), sms_event(99, AT)]}),
    "a constant sid for many people": (
        "message sids",
        State.fail,
        {"sms_events": [row | {"message_sid": "mock", "to_number": f"+15550{row['id'].fields[0]}"} for row in texts()]},
    ),
    "a constant sid for one person": ("message sids", State.fail, {"sms_events": texts(201, message_sid="mock")}),
    "texts without business": ("business", State.fail, {**GREEN, "sms_events": texts(business_id=None)}),
    "calls without business": ("business", State.fail, {**GREEN, "call_events": calls(business_id=None)}),
    "usage without business": (
        "business",
        State.warn,
        {**GREEN, "api_usage": [*usage(), *usage(5, first=500, business_id=None)]},
    ),
    "owner texts look like others": (
        "request ids", State.fail, {**GREEN, "sms_events": texts(), "owner_alerts": alerts()}
    ),
    "owner alerts without a text": ("request ids", State.fail, {**GREEN, "sms_events": []}),
    "usage without request": ("request ids", State.fail, {**GREEN, "api_usage": usage(request_id=None)}),
    "usage of an undefined request": ("request ids", State.fail, {**GREEN, "api_usage": usage(request_id="undefined")}),
    "calls without a sid": ("calls", State.fail, {"call_events": calls(call_sid="")}),
    "calls that only end": ("calls", State.fail, {"call_events": calls(event_type="voice.completed")}),
    "inbound texts without a sid": (
        "calls", State.fail, {"call_events": calls(event_type="sms.inbound", call_sid=None)}
    ),
    "texts and no calls": ("calls", State.warn, {"sms_events": texts()}),
    "no cost": ("prices", State.fail, {"api_usage": usage(cost_estimate=None)}),
    "cost 0": ("prices", State.fail, {"api_usage": usage(cost_estimate=0)}),
    "some without cost": (
        "prices", State.warn, {"api_usage": [*usage(), *usage(4, first=600, cost_estimate=None)]}
    ),
}  # fmt: skip
