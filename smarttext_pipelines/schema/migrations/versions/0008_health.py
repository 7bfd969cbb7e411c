"""Create the tables of health: heartbeats, and how the days went."""

from alembic import op

revision = "0008"
down_revision = "0007"

_TABLES = """
CREATE TABLE monitoring.heartbeats (
    kind text NOT NULL,
    name text NOT NULL,
    interval_seconds integer,
    last_success_at timestamptz,
    last_failure_at timestamptz,
    watched_since timestamptz DEFAULT now() NOT NULL,
    PRIMARY KEY (kind, name)
);
CREATE TABLE monitoring.pipeline_health (
    day date NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    seen_count bigint NOT NULL,
    failed_count bigint,
    late_count bigint,
    median_seconds numeric,
    longest_seconds numeric,
    lag_seconds numeric,
    read_at timestamptz DEFAULT now() NOT NULL,
    PRIMARY KEY (day, kind, name)
);
"""


def upgrade() -> None:
    """Create them; there is nothing to adopt."""
    op.execute(_TABLES)
