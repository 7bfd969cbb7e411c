"""Delivery reports: which messages Twilio was asked for."""

from sqlalchemy import Index, Integer, Table, Text

from smarttext_pipelines.storage.schema.base import MONITORING, Instant, column, metadata

report_asks = Table(
    "sms_report_asks",
    metadata,
    column("message_sid", Text, "Twilio's sid of the message.", primary_key=True),
    column("asked_at", Instant, "When Twilio last answered for it.", nullable=False),
    column("asked_count", Integer, "How often it has answered.", nullable=False),
    Index("sms_report_asks_asked_at_idx", "asked_at"),
    schema=MONITORING,
    comment="Messages whose outcome or price Twilio was asked for; what was asked lately is not asked again yet.",
)
