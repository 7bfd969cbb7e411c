"""Tables the pipeline keeps for itself: what the installation is, what was read, what was asked for."""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Date, Identity, Index, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB

from smarttext_pipelines.schema.tables.conventions import MONITORING, Instant, column, metadata

installation = Table(
    "installation",
    metadata,
    column("is_only_row", Boolean, "True; there is one row.", primary_key=True, server_default=text("true")),
    column(
        "reporting_timezone",
        Text,
        "IANA zone of the reporting days; every process compares its setting.",
        nullable=False,
    ),
    column(
        "reset_date_zone",
        Text,
        "Zone whose days api_usage.reset_date holds where the application made that table; NULL: the reporting zone. "
        "Where it is another than the reporting zone, created_at says the reporting day of usage.",
    ),
    column("installed_at", Instant, "When the first migration ran.", nullable=False, server_default=text("now()")),
    CheckConstraint("is_only_row", name="installation_is_only_row_check"),
    schema=MONITORING,
    comment="What this installation is.",
)

customer_secrets = Table(
    "customer_secrets",
    metadata,
    column("is_only_row", Boolean, "True; there is one row.", primary_key=True, server_default=text("true")),
    column(
        "fingerprint",
        Text,
        "First 16 hexadecimal digits of the HMAC-SHA-256 of a fixed word under the secret: tells two secrets apart.",
        nullable=False,
    ),
    column("used_since", Instant, "When keys were first made under it.", nullable=False, server_default=text("now()")),
    CheckConstraint("is_only_row", name="customer_secrets_is_only_row_check"),
    schema=MONITORING,
    comment="Which secret the keys of customers are made under; the secret itself is in no table.",
)

rollup_days = Table(
    "rollup_days",
    metadata,
    column(
        "table_name",
        Text,
        "Source table, or the table that was written where another metric records the source.",
        primary_key=True,
    ),
    column("row_day", Date, "Reporting day.", primary_key=True),
    column(
        "rows",
        BigInteger,
        "Rows of the day that were read; a later rollup that finds fewer freezes the day.",
        nullable=False,
    ),
    column("newest_event_at", Instant, "Newest time among those rows."),
    column(
        "rolled_up_at",
        Instant,
        "Start of the transaction that read what the numbers are made of; NULL where only a row count is known.",
    ),
    column("checked_at", Instant, "Start of the last rollup of the day, also if the day was frozen."),
    schema=MONITORING,
    comment="What each day was last computed from.",
)

rollup_requests = Table(
    "rollup_requests",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True, comment="Order of the request."),
    column("row_day", Date, "Reporting day to roll up.", nullable=False),
    column("business_id", Uuid, "Business that was named; the whole day is rolled up."),
    column("reason", Text, "Who asks, and why.", nullable=False),
    column("requested_at", Instant, "When it was asked for.", nullable=False, server_default=text("clock_timestamp()")),
    column("claimed_at", Instant, "When the sensor saw it; a rollup that starts later serves it."),
    Index("rollup_requests_row_day_idx", "row_day"),
    schema=MONITORING,
    comment="Days that somebody asked to be rolled up.",
)

daily_stats_adopted = Table(
    "daily_stats_adopted",
    metadata,
    column("id", Uuid, "Key of the adopted row.", primary_key=True),
    column("business_id", Uuid, "Business of the adopted row."),
    column("date", Date, "Day of the adopted row.", nullable=False),
    column("row", JSONB, "The adopted row, whole.", nullable=False),
    column("adopted_at", Instant, "When it was copied.", nullable=False, server_default=text("now()")),
    schema=MONITORING,
    comment="daily_stats as it was found when this installation was adopted.",
)

number_reveals = Table(
    "number_reveals",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True, comment="Order of the entry."),
    column("revealed_at", Instant, "When.", nullable=False, server_default=text("clock_timestamp()")),
    column("role", Text, "Role of the database that asked.", nullable=False, server_default=text("session_user")),
    column("author", Text, "Who asked, by --by.", nullable=False),
    column("what", Text, "What was explained, without numbers.", nullable=False),
    schema=MONITORING,
    comment="Who had telephone numbers shown in full.",
)

adoption_record = Table(
    "adoption_record",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True, comment="Order of the entry."),
    column("occasion", Text, "adoption, put back (by others, later), or revoke-writers.", nullable=False),
    column(
        "kind", Text, "table, view, column, policy, constraint, index, trigger, function, or decision.", nullable=False
    ),
    column("object", Text, "Name in schema public; what belongs to a table follows a dot.", nullable=False),
    column("state", JSONB, "Its definition, rights, owner and comment as they were found.", nullable=False),
    column("recorded_at", Instant, "When it was recorded.", nullable=False, server_default=text("now()")),
    schema=MONITORING,
    comment="What was found before this project changed it, from which it can be put back; never overwritten.",
)

installed_objects = Table(
    "installed_objects",
    metadata,
    column("kind", Text, "view, policy, trigger, function, or comment; script: what migrate ran.", primary_key=True),
    column("object", Text, "Name in schema public.", primary_key=True),
    column("state", JSONB, "What the last migrate left there.", nullable=False),
    schema=MONITORING,
    comment="What migrate last put into schema public, so that it is noticed when others put theirs back.",
)
