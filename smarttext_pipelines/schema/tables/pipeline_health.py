"""What the pipeline knows of itself: when each of its parts last succeeded, and how its days went."""

from sqlalchemy import BigInteger, Date, Integer, Numeric, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from smarttext_pipelines.schema.tables.conventions import MONITORING, Instant, column, metadata

heartbeats = Table(
    "heartbeats",
    metadata,
    column("kind", Text, "sensor, schedule, job or cycle.", primary_key=True),
    column("name", Text, "Its name in Dagster; of the cycle 'complete'.", primary_key=True),
    column("interval_seconds", Integer, "How often it succeeds when all is well; NULL for what runs on demand."),
    column("last_success_at", Instant, "When it last succeeded; a tick that had nothing to do has."),
    column("last_failure_at", Instant, "When it last failed."),
    column(
        "watched_since",
        Instant,
        "When it was first seen; of heartbeat_sensor, since when it ticks without a pause.",
        nullable=False,
        server_default=text("now()"),
    ),
    schema=MONITORING,
    comment="Last success of each sensor, schedule and job; late when it is older than twice the interval.",
)

pipeline_health = Table(
    "pipeline_health",
    metadata,
    column("day", Date, "Reporting day.", primary_key=True),
    column("kind", Text, "job or source.", primary_key=True),
    column("name", Text, "Job, or table of events.", primary_key=True),
    column("seen_count", BigInteger, "Runs of the job that ended, or events of the source.", nullable=False),
    column("failed_count", BigInteger, "Runs that failed; NULL for a source."),
    column("late_count", BigInteger, "Runs that waited longer than five minutes to start; NULL for a source."),
    column("median_seconds", Numeric, "Median duration of the runs; NULL for a source."),
    column("longest_seconds", Numeric, "Longest duration of a run; of a source the longest silence within the day."),
    column("lag_seconds", Numeric, "From the newest event to the end of the day, or to the reading of today."),
    column("read_at", Instant, "When it was read.", nullable=False, server_default=text("now()")),
    schema=MONITORING,
    comment="How a day of the pipeline went: runs, failures, durations, and silence of the sources.",
)

live_today = Table(
    "live_today",
    metadata,
    column("day", Date, "Reporting day.", primary_key=True),
    column("as_of", Instant, "When its events were read.", nullable=False),
    column(
        "numbers",
        JSONB,
        "Totals of the day as daily_stats would have them, businesses with unanswered callers, newest row by source.",
        nullable=False,
    ),
    schema=MONITORING,
    comment="Today as it is now, counted by the sampler as events come in; the facts are written by the rollup alone.",
)
