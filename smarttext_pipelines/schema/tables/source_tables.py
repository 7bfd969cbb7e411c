"""The five tables that the application owns and writes. Read here, widened at most, never rewritten."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Boolean, Column, Date, Index, Integer, Numeric, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB

from smarttext_pipelines.schema.near_rows import compared
from smarttext_pipelines.schema.tables.conventions import PUBLIC, Instant, column, metadata, random_id


def _business(*, nullable: bool = True) -> Column[Any]:
    return column(
        "business_id",
        Uuid,
        "Business that the row names; NULL where the writer did not know it.",
        foreign_key=f"{PUBLIC}.businesses.id",
        nullable=nullable,
    )


def _json(name: str, default: str, comment: str) -> Column[Any]:
    return column(name, JSONB, comment, server_default=text(f"'{default}'::jsonb"))


def _recorded_at(name: str, comment: str) -> Column[Any]:
    return column(name, Instant, comment, server_default=text("now()"))


businesses = Table(
    "businesses",
    metadata,
    random_id(),
    column("name", Text, "Name that people read.", nullable=False),
    column("business_type", Text, "Trade of the business.", server_default=text("'other'")),
    column("public_phone", Text, "Number that customers call. Personal data."),
    column("twilio_phone", Text, "Number that texts are sent from; several businesses may share one."),
    column("forwarding_number", Text, "Number that calls are forwarded to. Personal data."),
    column("address", Text, "Postal address. Personal data."),
    column("subscription_tier", Text, "Plan of the business.", server_default=text("'basic'")),
    column("trial_ends_at", Instant, "End of the trial."),
    _recorded_at("created_at", "When the business was added."),
    _recorded_at("updated_at", "When the business was last edited."),
    _json("custom_settings", "{}", "Settings of the application."),
    _json("hours_json", "{}", "Opening hours."),
    _json("faqs_json", "[]", "Answers to frequent questions."),
    schema=PUBLIC,
    comment="Customers of SmartText.",
)

call_events = Table(
    "call_events",
    metadata,
    random_id(),
    column("call_sid", Text, "Twilio's sid of the call; repeated by webhook retries."),
    column("from_number", Text, "Caller. Personal data."),
    column("to_number", Text, "Number that was called."),
    _business(),
    column("event_type", Text, "voice.missed, voice.inbound, voice.test, sms.inbound, …", nullable=False),
    column("call_status", Text, "Twilio's status of the call."),
    column("owner_notified", Boolean, "Whether the owner was notified.", server_default=text("false")),
    _recorded_at("ts", "When it happened."),
    _json("payload", "{}", "The webhook. Personal data."),
    Index("call_events_business_id_idx", "business_id"),
    Index("call_events_call_sid_idx", "call_sid"),
    Index("call_events_ts_idx", "ts"),
    Index("call_events_from_number_idx", text(compared("from_number"))),
    schema=PUBLIC,
    comment="Webhooks of calls and inbound texts; one call is often several rows.",
)

sms_events = Table(
    "sms_events",
    metadata,
    random_id(),
    column(
        "message_sid",
        Text,
        "Twilio's sid; empty after a failed send, RATE_LIMITED after a suppressed one; undefined, null … are none.",
    ),
    column("from_number", Text, "Sender.", nullable=False),
    column("to_number", Text, "Recipient. Personal data.", nullable=False),
    _business(),
    column(
        "status", Text, "Status as recorded, in any case; usually what Twilio answered at creation.", nullable=False
    ),
    column(
        "error_code",
        Text,
        "Twilio's error code: the first four to six digits, else the word; empty, unknown, null … are none.",
    ),
    column("error_message", Text, "Twilio's error message."),
    column(
        "request_id",
        Text,
        "Request that sent the text, such as the sid of a call; ends in -owner for texts to the owner.",
    ),
    column("body_length", Integer, "Length of the text in characters."),
    _recorded_at("created_at", "When the row was written."),
    _json("payload", "{}", "Twilio's response. Personal data."),
    Index("sms_events_business_id_idx", "business_id"),
    Index("sms_events_created_at_idx", "created_at"),
    Index("sms_events_message_sid_idx", "message_sid"),
    Index("sms_events_status_idx", "status"),
    Index("sms_events_to_number_idx", text(compared("to_number"))),
    schema=PUBLIC,
    comment="Attempts and status reports of outbound texts; one message is several rows.",
)

api_usage = Table(
    "api_usage",
    metadata,
    random_id(),
    column("service", Text, "openai, twilio, …", nullable=False),
    column("endpoint", Text, "Endpoint; daily_reset marks a row that is no request.", nullable=False),
    _business(),
    column("tokens_used", Integer, "Tokens of the request.", server_default=text("0")),
    column(
        "cost_estimate",
        Numeric(18, 6),
        "Cost as recorded, in USD; NULL or 0 with tokens is unpriced.",
        server_default=text("0"),
    ),
    column("model", Text, "Model that answered."),
    _recorded_at("created_at", "When the row was written."),
    column("reset_date", Date, "Day the usage counts for, in the zone that monitoring.installation tells."),
    column("request_id", Text, "Request that caused the usage."),
    _json("metadata", "{}", "Details of the writer."),
    Index("api_usage_business_id_idx", "business_id"),
    Index("api_usage_created_at_idx", "created_at"),
    Index("api_usage_reset_date_idx", "reset_date"),
    schema=PUBLIC,
    comment="Ledger of calls to paid services.",
)

owner_alerts = Table(
    "owner_alerts",
    metadata,
    random_id(),
    _business(nullable=False),
    column("owner_phone", Text, "Owner's number. Personal data.", nullable=False),
    column("customer_phone", Text, "Customer's number. Personal data.", nullable=False),
    column("alert_type", Text, "missed_call, urgent_message, custom_keyword, …", nullable=False),
    column("message_content", Text, "Text that was sent. Personal data.", nullable=False),
    column("detection_source", Text, "What triggered the alert."),
    column("message_sid", Text, "Sid of the text to the owner."),
    column("delivered", Boolean, "Handed to Twilio; never revised.", server_default=text("false")),
    column("error_message", Text, "Why it was not handed over."),
    _recorded_at("created_at", "When the alert was raised."),
    Index("owner_alerts_business_id_idx", "business_id"),
    Index("owner_alerts_created_at_idx", "created_at"),
    Index("owner_alerts_message_sid_idx", "message_sid"),
    schema=PUBLIC,
    comment="Alerts to the owners of businesses.",
)

READ_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "sms_events": (
        "id", "message_sid", "from_number", "to_number", "business_id", "status", "error_code", "request_id",
        "created_at",
    ),
    "call_events": ("id", "call_sid", "from_number", "to_number", "business_id", "event_type", "ts"),
    "api_usage": (
        "id", "service", "endpoint", "business_id", "tokens_used", "cost_estimate", "model", "request_id", "created_at",
        "reset_date",
    ),
    "owner_alerts": ("id", "business_id", "alert_type", "message_sid", "delivered", "created_at"),
}  # fmt: skip
"""What metrics read of each table of events: the lake holds it, and the functions of ``near_functions`` find it."""
