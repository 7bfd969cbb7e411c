"""What was found unusual by day, and what people said of it."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    Double,
    Identity,
    Index,
    Integer,
    Numeric,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)

from smarttext_pipelines.schema.tables.conventions import MONITORING, Instant, column, metadata

anomalies = Table(
    "anomalies",
    metadata,
    Column(
        "id",
        BigInteger,
        Identity(always=True),
        primary_key=True,
        comment="Its number; that of an episode is the lowest.",
    ),
    column("day", Date, "Last reporting day of the window.", nullable=False),
    column("metric", Text, "What was counted: a kind of series, see docs/anomalies.md.", nullable=False),
    column("business_id", Uuid, "Business; NULL for all together."),
    column("side", SmallInteger, "1 for too much, -1 for too little.", nullable=False),
    column("window_days", SmallInteger, "Known days of the window, which is 1, 3 or 7 days long.", nullable=False),
    column("found", Numeric, "What was counted in the window; US dollars for openai_cost.", nullable=False),
    column("whole", Numeric, "What it is out of; NULL for a count."),
    column("expected", Numeric, "What was to be expected, in the unit of found.", nullable=False),
    column("low", Numeric, "Lower end of the range that was to be expected.", nullable=False),
    column("high", Numeric, "Upper end of it.", nullable=False),
    column("nats", Double, "-ln of the calibrated probability of so unusual a value.", nullable=False),
    Index(
        "anomalies_day_metric_business_id_key",
        "day",
        "metric",
        "business_id",
        unique=True,
        postgresql_nulls_not_distinct=True,
    ),
    Index("anomalies_business_id_idx", "business_id"),
    schema=MONITORING,
    comment="One row per day, metric and business that was unusual; days in a row are one episode.",
)

anomaly_days = Table(
    "anomaly_days",
    metadata,
    column("day", Date, "Reporting day.", primary_key=True),
    column("tested_count", Integer, "Series that were looked at.", nullable=False),
    column("evaluated_at", Instant, "When that was.", nullable=False, server_default=text("now()")),
    schema=MONITORING,
    comment="Which days were searched for anomalies; a day without a row was not.",
)

anomaly_marks = Table(
    "anomaly_marks",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True, comment="Number of the mark."),
    column("business_id", Uuid, "Business; NULL for everybody."),
    column("first_day", Date, "First reporting day that is explained.", nullable=False),
    column("last_day", Date, "Last one.", nullable=False),
    column("reason", Text, "Why: closed, a campaign, a number that moved.", nullable=False),
    column("marked_by", Text, "Who said it.", nullable=False),
    column("marked_at", Instant, "When.", nullable=False, server_default=text("now()")),
    schema=MONITORING,
    comment="Days that somebody explained: nothing is learnt from them, and nothing of them is told.",
)

anomaly_verdicts = Table(
    "anomaly_verdicts",
    metadata,
    column("anomaly_id", BigInteger, "Number of the anomaly.", primary_key=True, autoincrement=False),
    column("metric", Text, "Its metric.", nullable=False),
    column("business_id", Uuid, "Its business; NULL for all together."),
    column("side", SmallInteger, "1 for too much, -1 for too little.", nullable=False),
    column("day", Date, "Last day of its episode when it was judged.", nullable=False),
    column("nats", Double, "How unusual it was; more must be seen before the series is told of again.", nullable=False),
    column("verdict", Text, "right, wrong or expected.", nullable=False),
    column("said_by", Text, "Who said it.", nullable=False),
    column("said_at", Instant, "When.", nullable=False, server_default=text("now()")),
    CheckConstraint("verdict IN ('right', 'wrong', 'expected')", name="anomaly_verdicts_verdict_check"),
    schema=MONITORING,
    comment="What people said of anomalies; kept also where a rerun no longer finds one.",
)
