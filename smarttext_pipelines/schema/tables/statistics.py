"""The tables this project computes: daily facts, and what people read of them.

The text dimensions are cut at ``core.statuses.TEXT_LIMIT`` characters.
"""

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Date, Index, Integer, Numeric, Table, Text, Uuid, text

from smarttext_pipelines.core.failure_classes import failure_classes
from smarttext_pipelines.schema.tables.conventions import (
    MONITORING,
    PUBLIC,
    Instant,
    Usd,
    column,
    derived_id,
    dimension,
    metadata,
    updated_at,
)

_Percent = Numeric(5, 2)


def _day(table: str) -> tuple[Column[Any], Index]:
    return column("day", Date, "Reporting day.", nullable=False), Index(f"{table}_day_idx", "day")


def _business() -> Column[Any]:
    return column("business_id", Uuid, "Business; NULL for what could not be attributed to one.")


def _count(name: str, comment: str) -> Column[Any]:
    return column(name, BigInteger, comment, nullable=False)


sms_outcomes = Table(
    "sms_outcomes",
    metadata,
    derived_id(),
    *_day("sms_outcomes"),
    _business(),
    column("audience", Text, "owner or customer.", nullable=False),
    dimension("sender", "Smallest sending number among the rows of the messages."),
    column("status", Text, "Status of the highest rank among the rows of a message.", nullable=False),
    column("status_class", Text, "in_flight, successful, failed, suppressed or unknown.", nullable=False),
    dimension("error_code", "Error code with the highest status, a number before words; NULL for none."),
    _count("message_count", "Messages attempted on the day."),
    _count("late_report_count", "Messages of which only late reports were seen; no attempt of the day."),
    _count("inbound_count", "Messages all of whose rows are received or receiving; no attempt."),
    updated_at(),
    schema=MONITORING,
    comment="Messages by day, business, audience, sender, status, class and error code.",
)

spend = Table(
    "spend",
    metadata,
    derived_id(),
    *_day("spend"),
    _business(),
    column("service", Text, "openai, twilio, …", nullable=False),
    dimension("model", "Model as recorded."),
    column("endpoint", Text, "Endpoint as recorded.", nullable=False),
    _count("request_count", "Requests; daily_reset markers are none."),
    _count("tokens_used", "Tokens as recorded."),
    column("cost_usd", Usd, "Cost as recorded, in USD; unpriced requests add nothing.", nullable=False),
    _count("unpriced_requests", "Requests with tokens whose recorded cost is NULL or 0."),
    _count("unpriced_tokens", "Tokens of the unpriced requests."),
    column(
        "unpriced_cost_upper_usd",
        Usd,
        "Upper estimate of what the unpriced tokens cost, in USD; never added to cost_usd; NULL for unknown models.",
    ),
    updated_at(),
    schema=MONITORING,
    comment="Usage of paid services by day, business, service, model and endpoint.",
)

call_volume = Table(
    "call_volume",
    metadata,
    derived_id(),
    *_day("call_volume"),
    _business(),
    _count("calls_total", "Distinct calls without tests."),
    _count("calls_missed", "Calls with a voice.missed row."),
    _count("messages_received", "Distinct inbound texts."),
    updated_at(),
    schema=MONITORING,
    comment="Calls and inbound texts by day and business.",
)

missed_call_replies = Table(
    "missed_call_replies",
    metadata,
    derived_id(),
    *_day("missed_call_replies"),
    _business(),
    _count(
        "replied_in_time_count",
        "Missed calls whose caller got a text of the business within reply_minutes, or just before.",
    ),
    _count("replied_late_count", "Missed calls whose caller got one later, within 24 hours."),
    _count("unreplied_count", "Missed calls whose caller got none within 24 hours; a text that failed is none."),
    _count(
        "reply_unknown_count",
        "Missed calls with no known answer: a text whose outcome is open or that has no business, a withheld number, "
        "a call without business, or the time is not over.",
    ),
    column("wait_p50_ms", BigInteger, "Median wait of the answered, nearest rank, in ms; NULL when none is."),
    column("wait_p95_ms", BigInteger, "95th percentile of the wait of the answered, nearest rank, in ms."),
    column("reply_minutes", Integer, "Minutes that counted as in time when the day was computed.", nullable=False),
    updated_at(),
    schema=MONITORING,
    comment="What became of missed calls, by day and business: answered by a text in time, later, never, or unknown.",
)

owner_alert_delivery = Table(
    "owner_alert_delivery",
    metadata,
    derived_id(),
    *_day("owner_alert_delivery"),
    _business(),
    column("alert_type", Text, "Type of the alert.", nullable=False),
    _count("sent_count", "Alerts handed to Twilio under a real sid."),
    _count("failed_count", "Every other alert."),
    updated_at(),
    schema=MONITORING,
    comment="Alerts to owners by day, business and type; alerts of this pipeline are left out.",
)


def _few(name: str, comment: str) -> Column[Any]:
    return column(name, Integer, comment, nullable=False)


customer_days = Table(
    "customer_days",
    metadata,
    derived_id(),
    *_day("customer_days"),
    _business(),
    dimension(
        "customer_key",
        "HMAC-SHA-256 of the customer's number under SMARTTEXT_CUSTOMER_KEY, hexadecimal; NULL for what has no number, "
        "one of no country, or no known customer.",
    ),
    _few("calls_total", "Distinct calls without tests."),
    _few("calls_missed", "Calls with a voice.missed row."),
    _few("replied_in_time_count", "Missed calls answered by a text in time, as in missed_call_replies."),
    _few("replied_late_count", "Missed calls answered later, within 24 hours."),
    _few("unreplied_count", "Missed calls not answered within 24 hours."),
    _few("reply_unknown_count", "Missed calls of which no answer is known, nor that there is none."),
    _few("messages_received", "Distinct inbound texts."),
    _few("messages_sent", "Texts attempted to the customer, of all classes; those to owners are none."),
    _few("sms_success_count", "Texts sent, delivered or read."),
    _few("sms_failure_count", "Texts failed, undelivered or partially delivered."),
    _few("sms_in_flight_count", "Texts whose outcome is not known yet."),
    _few("sms_suppressed_count", "Texts rate limited, skipped or canceled."),
    _few("sms_unknown_count", "Texts of any other status."),
    _few("openai_requests", "OpenAI requests that texts with this customer, and no other, name."),
    _count("openai_tokens_used", "Tokens of these requests as recorded."),
    column("openai_cost_estimate", Usd, "Cost of these requests as recorded, in USD.", nullable=False),
    _few("openai_unpriced_requests", "Requests with tokens whose recorded cost is NULL or 0."),
    updated_at(),
    Index("customer_days_customer_key_idx", "customer_key"),
    schema=MONITORING,
    comment="Calls, texts and OpenAI requests by day, business and customer; a customer is a key, never a number.",
)

sms_failure_rates = Table(
    "sms_failure_rates",
    metadata,
    derived_id(),
    _business(),
    column("date", Date, "Reporting day.", nullable=False),
    _count("total_attempts", "Messages attempted."),
    _count("successful", "Messages sent, delivered or read."),
    _count("failed", "Messages failed, undelivered or partially delivered."),
    column("failure_rate_percent", _Percent, "failed / (successful + failed), percent; NULL when nothing is decided."),
    _count("in_flight", "Messages scheduled, accepted, queued or sending."),
    _count("suppressed", "Messages rate limited, skipped or canceled."),
    _count("unknown", "Messages of any other status."),
    column("coverage_percent", _Percent, "Share of attempted − suppressed messages whose outcome is final, percent."),
    column("failure_rate_lower_percent", _Percent, "95 % Wilson lower bound of the failure rate, percent."),
    *(
        column(f"failed_{each.name}", BigInteger, f"Failed messages: {each.reason}; who acts: {each.who}.")
        for each in failure_classes().values()
    ),
    updated_at(),
    Index("sms_failure_rates_date_idx", "date"),
    schema=MONITORING,
    comment="Failure rate by business and day, with its coverage and lower bound.",
)


def _total(name: str, comment: str, type_: type[Integer] = Integer) -> Column[Any]:
    return column(name, type_, comment, server_default=text("0"))


def _added(name: str, comment: str) -> Column[Any]:
    # No default: on rows that the application once wrote these are not zero but unknown.
    return column(name, Integer, comment)


daily_stats = Table(
    "daily_stats",
    metadata,
    derived_id(server_default=text("gen_random_uuid()")),
    column("business_id", Uuid, "Business; NULL for what could not be attributed.", foreign_key="public.businesses.id"),
    column("date", Date, "Reporting day.", nullable=False),
    _total("calls_total", "Distinct calls without tests."),
    _total("calls_missed", "Calls with a voice.missed row."),
    _total("calls_answered", "calls_total − calls_missed."),
    _total("messages_received", "Distinct inbound texts."),
    _total("messages_sent", "Messages attempted, of all classes."),
    _total("sms_success_count", "Messages sent, delivered or read; sent is not final."),
    _total("sms_failure_count", "Messages failed, undelivered or partially delivered."),
    _total("openai_tokens_used", "OpenAI tokens as recorded.", BigInteger),
    column(
        "openai_cost_estimate",
        Usd,
        "OpenAI cost as recorded, in USD; unpriced requests add nothing.",
        server_default=text("0"),
    ),
    _total("owner_alerts_sent", "Owner alerts handed to Twilio under a real sid."),
    updated_at(nullable=True),
    _added("sms_delivered_count", "Messages delivered or read."),
    _added("sms_in_flight_count", "Messages whose outcome is not known yet."),
    _added("sms_suppressed_count", "Messages rate limited, skipped or canceled."),
    _added("sms_unknown_count", "Messages of any other status."),
    _added("openai_requests", "OpenAI requests; daily_reset markers are none."),
    _added("openai_unpriced_requests", "OpenAI requests with tokens whose recorded cost is NULL or 0."),
    _added("owner_alerts_failed", "Owner alerts that were not sent."),
    column("data_through", Instant, "End of the day; for a day that was read before its end, the time of reading."),
    column("is_final", Boolean, "Whether the settle window of the day is over; NULL on rows of the old cron script."),
    _added("missed_calls_replied", "Missed calls whose caller got a text within 24 hours; in time or late."),
    _added("missed_calls_unreplied", "Missed calls whose caller got none within 24 hours."),
    _added("missed_calls_reply_unknown", "Missed calls of which neither is known."),
    Index("daily_stats_business_id_date_key", "business_id", "date", unique=True, postgresql_nulls_not_distinct=True),
    Index("daily_stats_date_idx", "date"),
    schema=PUBLIC,
    comment="One row per business and reporting day that had any event, and one without business for the rest.",
)
