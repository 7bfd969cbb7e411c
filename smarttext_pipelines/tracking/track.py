"""The ``track_*`` functions except that of ``usage_events``: an event as the application passes it, and its row.

Meanings are those of the existing columns (docs/data-dictionary.md): rows of this library and of any other writer
are indistinguishable. Each raises ValueError for a bad value only where ``configure(synchronous=True)`` was called;
otherwise the event is rejected, counted and logged, and the caller continues. Only status or type, tokens, cost, sids,
request id, business, time and an absent telephone number are such values; any other is cleaned, cut or left out, and
the event counted as trimmed (``Fields``). Each returns the id of the row, or None.
"""

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from smarttext_pipelines.core.statuses import REPORT_REQUEST_ID
from smarttext_pipelines.tracking import process, values
from smarttext_pipelines.tracking.cleaning import WORD_LIMIT
from smarttext_pipelines.tracking.fields import Fields

_UNDELIVERED = frozenset({"failed", "undelivered"})


def track_sms_event(
    *,
    from_: str,
    to: str,
    status: str,
    message_sid: str | None = None,
    business_id: UUID | str | None = None,
    error_code: str | int | None = None,
    error_message: str | None = None,
    request_id: str | None = None,
    body_length: int | None = None,
    payload: Mapping[str, Any] | None = None,
    occurred_at: datetime | None = None,
) -> UUID | None:
    """Record that a text was sent, tried, or changed its status.

    Args:
        from_: Sending number.
        to: Recipient.
        status: Twilio's status, in any case.
        message_sid: Twilio's sid; empty after a failed send.
        business_id: Business; None where it is not known.
        error_code: Twilio's error code.
        error_message: Twilio's error message.
        request_id: Request that sent it; ends in ``-owner`` for texts to the owner.
        body_length: Characters of the text.
        payload: Twilio's response.
        occurred_at: Aware time of the event; now by default.

    Example:
        >>> track_sms_event(from_="+15550100", to="+15550101", status="queued", message_sid="")  # doctest: +SKIP
    """

    def row(fields: Fields) -> dict[str, Any]:
        return {
            "message_sid": fields.key("message_sid", message_sid),
            "from_number": fields.phone("from_", from_, required=True),
            "to_number": fields.phone("to", to, required=True),
            "business_id": values.uuid("business_id", business_id),
            "status": fields.word("status", status),
            "error_code": fields.code("error_code", error_code),
            "error_message": fields.side("error_message", error_message),
            "request_id": fields.key("request_id", request_id),
            "body_length": fields.number("body_length", body_length),
            "created_at": values.instant("occurred_at", occurred_at),
            "payload": fields.payload("payload", payload),
        }

    return tell("sms_events", row, problem=_failed_message)


def track_delivery_report(
    *, to: str, status: str, message_sid: str, error_code: str, occurred_at: datetime | None = None
) -> UUID | None:
    """Record Twilio's report on a known message; the same report again is the same row.

    The id is that of the rows that polling writes, so a report that arrives both ways is stored once.

    Args:
        to: Recipient.
        status: Twilio's status.
        message_sid: Twilio's sid.
        error_code: Twilio's error code; empty is none.
        occurred_at: Aware time of the report; now by default.
    """

    def row(fields: Fields) -> dict[str, Any]:
        return {
            "message_sid": fields.key("message_sid", message_sid),
            # Empty says nothing: a number of a pool that Twilio names must not become the message's sender.
            "from_number": "",
            "to_number": fields.phone("to", to, required=True),
            "business_id": None,
            "status": fields.word("status", status),
            "error_code": fields.code("error_code", error_code or None),
            "error_message": None,
            "request_id": REPORT_REQUEST_ID,
            "body_length": None,
            "created_at": values.instant("occurred_at", occurred_at),
            "payload": {"source": "twilio"},
        }

    name = f"twilio-report:{message_sid}:{status}:{error_code}"
    id_ = UUID(hashlib.md5(name.encode(errors="surrogatepass"), usedforsecurity=False).hexdigest())
    return tell("sms_events", row, id_=id_, problem=_failed_message)


def track_owner_alert(
    *,
    business_id: UUID | str,
    owner_phone: str,
    customer_phone: str,
    alert_type: str,
    message_content: str,
    detection_source: str | None = None,
    message_sid: str | None = None,
    delivered: bool = True,
    error_message: str | None = None,
    occurred_at: datetime | None = None,
) -> UUID | None:
    """Record that the owner of a business was alerted.

    Args:
        business_id: Business.
        owner_phone: Number of the owner.
        customer_phone: Number of the customer.
        alert_type: ``missed_call``, ``urgent_message``, ``custom_keyword`` …
        message_content: Text of the alert.
        detection_source: What made the application alert.
        message_sid: Twilio's sid of the alert.
        delivered: Whether Twilio took it.
        error_message: Why it did not.
        occurred_at: Aware time; now by default.
    """

    def row(fields: Fields) -> dict[str, Any]:
        if business_id is None:
            msg = "business_id is required: an owner alert belongs to a business"
            raise ValueError(msg)
        return {
            "business_id": values.uuid("business_id", business_id),
            "owner_phone": fields.phone("owner_phone", owner_phone, required=True),
            "customer_phone": fields.phone("customer_phone", customer_phone, required=True),
            "alert_type": fields.word("alert_type", alert_type),
            "message_content": fields.content("message_content", message_content),
            "detection_source": fields.side("detection_source", detection_source, size=WORD_LIMIT),
            "message_sid": fields.key("message_sid", message_sid),
            "delivered": bool(delivered),
            "error_message": fields.side("error_message", error_message),
            "created_at": values.instant("occurred_at", occurred_at),
        }

    return tell("owner_alerts", row, problem=_undelivered_alert)


def track_call_event(
    *,
    event_type: str,
    call_sid: str | None = None,
    from_: str | None = None,
    to: str | None = None,
    business_id: UUID | str | None = None,
    call_status: str | None = None,
    owner_notified: bool = False,
    payload: Mapping[str, Any] | None = None,
    occurred_at: datetime | None = None,
) -> UUID | None:
    """Record a call or an inbound text.

    Args:
        event_type: ``voice.missed``, ``voice.inbound``, ``sms.inbound`` …
        call_sid: Twilio's sid of the call.
        from_: Caller.
        to: Number that was called.
        business_id: Business; None where it is not known.
        call_status: Twilio's status of the call.
        owner_notified: Whether the owner was notified.
        payload: The webhook.
        occurred_at: Aware time; now by default.
    """

    def row(fields: Fields) -> dict[str, Any]:
        return {
            "call_sid": fields.key("call_sid", call_sid),
            "from_number": fields.phone("from_", from_),
            "to_number": fields.phone("to", to),
            "business_id": values.uuid("business_id", business_id),
            "event_type": fields.word("event_type", event_type),
            "call_status": fields.side("call_status", call_status, size=WORD_LIMIT),
            "owner_notified": bool(owner_notified),
            "ts": values.instant("occurred_at", occurred_at),
            "payload": fields.payload("payload", payload),
        }

    return tell("call_events", row)


def tell(
    table: str,
    build: Callable[[Fields], dict[str, Any]],
    *,
    problem: Callable[[dict[str, Any]], tuple[object, ...] | None] = lambda _: None,
    id_: UUID | None = None,
) -> UUID | None:
    """Build the row of an event and hand it to the writer of this process; return its id, or None."""
    writer, fields, id_ = process.current(), Fields(), id_ or uuid4()
    try:
        row = {"id": str(id_), **build(fields)}
    except Exception as error:  # noqa: BLE001 - a value may be an object that raises anything
        reason = str(error) if isinstance(error, ValueError) else f"a value raised {type(error).__name__}"
        writer.reject(table, reason)
        if writer.synchronous:
            raise ValueError(reason) from None
        return None
    if (noted := problem(row)) is not None:
        writer.note_problem(*noted)
    for name in fields.trimmed:
        writer.warn("%s was cut, cleaned or left out of an event for %s", name, table)
    return (
        id_ if writer.accept(table, row, trimmed=int(bool(fields.trimmed)), odd_numbers=int(bool(fields.odd))) else None
    )


def _failed_message(row: dict[str, Any]) -> tuple[object, ...] | None:
    if row["status"].lower() not in _UNDELIVERED:
        return None
    return "message", row["status"], row["error_code"], row["business_id"]


def _undelivered_alert(row: dict[str, Any]) -> tuple[object, ...] | None:
    return None if row["delivered"] else ("owner alert", "not delivered", row["alert_type"], row["business_id"])
