"""Create the fact about replies to missed calls and its columns in ``daily_stats``, which stay NULL on older rows."""

from alembic import op

revision = "0007"
down_revision = "0005"

_TABLES = """
CREATE TABLE monitoring.missed_call_replies (
    id uuid PRIMARY KEY,
    day date NOT NULL,
    business_id uuid,
    replied_in_time_count bigint NOT NULL,
    replied_late_count bigint NOT NULL,
    unreplied_count bigint NOT NULL,
    reply_unknown_count bigint NOT NULL,
    wait_p50_ms bigint,
    wait_p95_ms bigint,
    reply_minutes integer NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX missed_call_replies_day_idx ON monitoring.missed_call_replies (day);
ALTER TABLE public.daily_stats
    ADD COLUMN IF NOT EXISTS missed_calls_replied integer,
    ADD COLUMN IF NOT EXISTS missed_calls_unreplied integer,
    ADD COLUMN IF NOT EXISTS missed_calls_reply_unknown integer;
"""


def upgrade() -> None:
    """Create them."""
    op.execute(_TABLES)
