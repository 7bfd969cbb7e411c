"""Add what customers did by day; a customer is a key, never a number."""

from alembic import op

revision = "0024"
down_revision = "0023"

_TABLE = """
CREATE TABLE monitoring.customer_days (
    id uuid PRIMARY KEY,
    day date NOT NULL,
    business_id uuid,
    customer_key text,
    calls_total integer NOT NULL,
    calls_missed integer NOT NULL,
    replied_in_time_count integer NOT NULL,
    replied_late_count integer NOT NULL,
    unreplied_count integer NOT NULL,
    reply_unknown_count integer NOT NULL,
    messages_received integer NOT NULL,
    messages_sent integer NOT NULL,
    sms_success_count integer NOT NULL,
    sms_failure_count integer NOT NULL,
    sms_in_flight_count integer NOT NULL,
    sms_suppressed_count integer NOT NULL,
    sms_unknown_count integer NOT NULL,
    openai_requests integer NOT NULL,
    openai_tokens_used bigint NOT NULL,
    openai_cost_estimate numeric(38, 6) NOT NULL,
    openai_unpriced_requests integer NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX customer_days_day_idx ON monitoring.customer_days (day);
CREATE INDEX customer_days_customer_key_idx ON monitoring.customer_days (customer_key);
"""


def upgrade() -> None:
    """Create it; it is empty until its days are rolled up."""
    op.execute(_TABLE)
