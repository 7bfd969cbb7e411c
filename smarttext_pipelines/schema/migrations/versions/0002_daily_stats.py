"""Create or adopt ``daily_stats``: widen it, set the rows aside that its new key cannot hold, lose none.

It is the one table that is rewritten, in a transaction of its own, so that the application's events are not locked.
"""

from alembic import op

from smarttext_pipelines.schema.migrations.found import to_business
from smarttext_pipelines.schema.migrations.lock import lock
from smarttext_pipelines.schema.migrations.reshaping import SET_ASIDE, WIDEN_STATS
from smarttext_pipelines.schema.migrations.row_security import create_table

revision = "0002"
down_revision = "0001"

_COLUMNS = (
    "business_id uuid{to_business}",
    "date date NOT NULL",
    "calls_total integer DEFAULT 0",
    "calls_missed integer DEFAULT 0",
    "calls_answered integer DEFAULT 0",
    "messages_received integer DEFAULT 0",
    "messages_sent integer DEFAULT 0",
    "sms_success_count integer DEFAULT 0",
    "sms_failure_count integer DEFAULT 0",
    "openai_tokens_used bigint DEFAULT 0",
    "openai_cost_estimate numeric(38, 6) DEFAULT 0",
    "owner_alerts_sent integer DEFAULT 0",
    "updated_at timestamptz DEFAULT now()",
    "sms_delivered_count integer",
    "sms_in_flight_count integer",
    "sms_suppressed_count integer",
    "sms_unknown_count integer",
    "openai_requests integer",
    "openai_unpriced_requests integer",
    "owner_alerts_failed integer",
    "data_through timestamptz",
    "is_final boolean",
)

_COPY = """
CREATE TABLE monitoring.daily_stats_adopted (
    id uuid PRIMARY KEY, business_id uuid, date date NOT NULL, "row" jsonb NOT NULL,
    adopted_at timestamptz NOT NULL DEFAULT now()
);
"""


def upgrade() -> None:
    """Create what is missing, widen what is too narrow, keep a copy of every row."""
    op.execute(lock("daily_stats"))
    op.execute(create_table("daily_stats"))
    added = ", ".join(f"ADD COLUMN IF NOT EXISTS {column}" for column in _COLUMNS)
    added = added.replace("{to_business}", to_business())
    op.execute(f"ALTER TABLE public.daily_stats {added}")
    op.execute(WIDEN_STATS)
    op.execute(_COPY)
    op.execute(SET_ASIDE)
