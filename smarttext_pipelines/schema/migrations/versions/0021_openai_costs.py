"""Add what OpenAI charges by its own days, and what was recorded on them."""

from alembic import op

revision = "0021"
down_revision = "0020"

_TABLES = """
CREATE TABLE monitoring.openai_costs (
    day date NOT NULL,
    project_id text,
    line_item text,
    currency text NOT NULL,
    amount numeric NOT NULL
);
CREATE UNIQUE INDEX openai_costs_day_project_id_line_item_currency_key
    ON monitoring.openai_costs (day, project_id, line_item, currency) NULLS NOT DISTINCT;
CREATE TABLE monitoring.openai_cost_days (
    day date PRIMARY KEY,
    asked_at timestamptz NOT NULL,
    is_told boolean NOT NULL,
    recorded_usd numeric(38, 6),
    unpriced_requests bigint NOT NULL DEFAULT 0
);
"""


def upgrade() -> None:
    """Create them; they are empty until an admin key is set."""
    op.execute(_TABLES)
