"""Create the fact of customers."""

from alembic import op

revision = "0019"
down_revision = "0018"

_TABLES = """
CREATE TABLE monitoring.customer_days (
    id uuid PRIMARY KEY,
    day date NOT NULL,
    business_id uuid,
    customer_key uuid,
    calls_total bigint NOT NULL,
    calls_missed bigint NOT NULL,
    replied_in_time_count bigint NOT NULL,
    replied_late_count bigint NOT NULL,
    unreplied_count bigint NOT NULL,
    reply_unknown_count bigint NOT NULL,
    messages_received bigint NOT NULL,
    texts_sent bigint NOT NULL,
    texts_successful bigint NOT NULL,
    texts_failed bigint NOT NULL,
    texts_in_flight bigint NOT NULL,
    texts_suppressed bigint NOT NULL,
    texts_unknown bigint NOT NULL,
    failed_opted_out bigint NOT NULL,
    failed_invalid_number bigint NOT NULL,
    failed_unreachable bigint NOT NULL,
    openai_requests bigint NOT NULL,
    openai_tokens_used bigint NOT NULL,
    openai_cost_usd numeric(38, 6) NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX customer_days_day_idx ON monitoring.customer_days (day);
CREATE INDEX customer_days_customer_key_day_idx ON monitoring.customer_days (customer_key, day);
"""


def upgrade() -> None:
    """Create it."""
    op.execute(_TABLES)
