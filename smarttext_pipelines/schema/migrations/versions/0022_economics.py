"""Add the hours of the week in which OpenAI is used, callers who write back, and what a business costs and pays."""

from alembic import op

revision = "0022"
down_revision = "0021"

_TABLES = """
CREATE TABLE monitoring.openai_hours (
    business_key uuid NOT NULL,
    weekday smallint NOT NULL,
    hour smallint NOT NULL,
    tokens numeric NOT NULL,
    computed_on date NOT NULL,
    PRIMARY KEY (business_key, weekday, hour)
);
CREATE TABLE monitoring.write_backs (
    day date NOT NULL,
    business_id uuid,
    texted_callers integer NOT NULL,
    wrote_back integer NOT NULL
);
CREATE UNIQUE INDEX write_backs_day_business_id_key ON monitoring.write_backs (day, business_id) NULLS NOT DISTINCT;
CREATE TABLE monitoring.unit_economics (
    month date NOT NULL,
    business_id uuid,
    missed_calls bigint NOT NULL,
    answered_callers bigint,
    unanswered_callers bigint,
    texts bigint,
    tokens bigint NOT NULL,
    openai_usd numeric(38, 6) NOT NULL,
    openai_unpriced bigint NOT NULL,
    texts_usd numeric(38, 6),
    fees_usd numeric(38, 6),
    texts_unpriced bigint,
    known_cost_usd numeric(38, 6) NOT NULL,
    cost_usd numeric(38, 6),
    usd_per_missed_call numeric(38, 6),
    usd_per_answered_caller numeric(38, 6),
    plan text,
    plan_usd numeric(38, 6),
    margin_usd numeric(38, 6),
    margin_at_most_usd numeric(38, 6),
    days_known smallint NOT NULL,
    complete boolean NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX unit_economics_month_business_id_key ON monitoring.unit_economics (month, business_id)
    NULLS NOT DISTINCT;
"""


def upgrade() -> None:
    """Create them; they are empty until their assets run."""
    op.execute(_TABLES)
