"""Add what was found unusual, and what people said of it."""

from alembic import op

revision = "0020"
down_revision = "0019"

_TABLES = """
CREATE TABLE monitoring.anomalies (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    day date NOT NULL,
    metric text NOT NULL,
    business_id uuid,
    side smallint NOT NULL,
    window_days smallint NOT NULL,
    found numeric NOT NULL,
    whole numeric,
    expected numeric NOT NULL,
    low numeric NOT NULL,
    high numeric NOT NULL,
    nats double precision NOT NULL
);
CREATE UNIQUE INDEX anomalies_day_metric_business_id_key ON monitoring.anomalies (day, metric, business_id)
    NULLS NOT DISTINCT;
CREATE INDEX anomalies_business_id_idx ON monitoring.anomalies (business_id);
CREATE TABLE monitoring.anomaly_days (
    day date PRIMARY KEY,
    tested_count integer NOT NULL,
    evaluated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE monitoring.anomaly_marks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    business_id uuid,
    first_day date NOT NULL,
    last_day date NOT NULL,
    reason text NOT NULL,
    marked_by text NOT NULL,
    marked_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE monitoring.anomaly_verdicts (
    anomaly_id bigint PRIMARY KEY,
    metric text NOT NULL,
    business_id uuid,
    side smallint NOT NULL,
    day date NOT NULL,
    nats double precision NOT NULL,
    verdict text NOT NULL CHECK (verdict IN ('right', 'wrong', 'expected')),
    said_by text NOT NULL,
    said_at timestamptz NOT NULL DEFAULT now()
);
"""


def upgrade() -> None:
    """Create them; they are empty until the first evaluation."""
    op.execute(_TABLES)
