"""Create what delivery reports need and the fact about replies to missed calls.

Its columns in ``daily_stats`` stay NULL on older rows.
"""

from alembic import op

revision = "0007"
down_revision = "0006"

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
CREATE TABLE monitoring.sms_report_asks (
    message_sid text PRIMARY KEY,
    asked_at timestamptz NOT NULL,
    asked_count integer NOT NULL
);
CREATE INDEX sms_report_asks_asked_at_idx ON monitoring.sms_report_asks (asked_at);
ALTER TABLE monitoring.sms_failure_rates
    ADD COLUMN failed_unreachable bigint,
    ADD COLUMN failed_invalid_number bigint,
    ADD COLUMN failed_opted_out bigint,
    ADD COLUMN failed_filtered bigint,
    ADD COLUMN failed_registration bigint,
    ADD COLUMN failed_throughput bigint,
    ADD COLUMN failed_account bigint,
    ADD COLUMN failed_provider bigint,
    ADD COLUMN failed_unmapped bigint;
ALTER TABLE public.daily_stats
    ADD COLUMN IF NOT EXISTS missed_calls_replied integer,
    ADD COLUMN IF NOT EXISTS missed_calls_unreplied integer,
    ADD COLUMN IF NOT EXISTS missed_calls_reply_unknown integer;
"""


def upgrade() -> None:
    """Create them."""
    op.execute(_TABLES)
