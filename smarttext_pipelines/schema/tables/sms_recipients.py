"""What is known of numbers that should not be texted; customers are known by their keys."""

from sqlalchemy import CheckConstraint, LargeBinary, SmallInteger, Table, Text, Uuid, text

from smarttext_pipelines.schema.tables.conventions import MONITORING, Instant, column, metadata

recipient_secret = Table(
    "recipient_secret",
    metadata,
    column("id", SmallInteger, "Always 1.", primary_key=True, server_default=text("1"), autoincrement=False),
    column("inner_block", LargeBinary, "Inner padded block of HMAC-SHA-256 under the secret.", nullable=False),
    column("outer_block", LargeBinary, "Outer padded block.", nullable=False),
    CheckConstraint("id = 1", name="recipient_secret_id_check"),
    schema=MONITORING,
    comment="What check_sms_recipient makes keys with; only the owner reads it.",
)

recipient_marks = Table(
    "recipient_marks",
    metadata,
    column("customer_key", Uuid, "Keyed hash of the customer's number.", primary_key=True),
    column("sender", Text, "Number that the customer answered, of STOP and START; else empty.", primary_key=True),
    column("kind", Text, "opt_out, opt_in, invalid, unreachable or delivered.", primary_key=True),
    column("at", Instant, "When it was last so.", nullable=False),
    column("why", Text, "Error code or word."),
    schema=MONITORING,
    comment="The newest word of each kind on a customer's number.",
)
