"""Delivery reports: which messages Twilio was asked for, and what of its answers a table refused."""

from sqlalchemy import Index, Integer, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from smarttext_pipelines.schema.tables.conventions import MONITORING, Instant, column, metadata

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

refused_rows = Table(
    "refused_rows",
    metadata,
    column("table_name", Text, "Table that refused it.", primary_key=True),
    column("row_id", Uuid, "Id that the row would have had.", primary_key=True),
    column(
        "row",
        JSONB,
        "What Twilio said: sid, status, error code, segments, price; no number and no text.",
        nullable=False,
    ),
    column("reason", Text, "What PostgreSQL said, with the constraint or column; no values.", nullable=False),
    column("refused_count", Integer, "How often it was refused.", nullable=False),
    column("first_refused_at", Instant, "When it was refused first.", nullable=False),
    column("last_refused_at", Instant, "When it was refused last.", nullable=False),
    schema=MONITORING,
    comment="Rows that a table of the application refused; tried again every hour.",
)
