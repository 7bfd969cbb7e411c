"""Create the tables of the OpenAI guardrail and of the tracking library; ``guardrail`` has what works on them."""

from alembic import op

revision = "0004"
down_revision = "0003"

_KEY = (
    "business_id uuid, business_key uuid NOT NULL"
    " GENERATED ALWAYS AS (coalesce(business_id, '00000000-0000-0000-0000-000000000000'::uuid)) STORED"
)
_TABLES = """
CREATE TABLE monitoring.openai_limits (
    scope text NOT NULL CONSTRAINT openai_limits_scope_check
        CHECK (scope IN ('default', 'plan', 'business', 'unattributed')),
    name text NOT NULL, limit_tokens bigint, limit_usd numeric, updated_by text,
    updated_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (scope, name)
);
INSERT INTO monitoring.openai_limits (scope, name, limit_tokens) VALUES ('default', '', 100000);
-- Half-filled pages: the new versions of a counter stay beside it and touch no index.
CREATE TABLE monitoring.openai_budgets (
    {key}, day date NOT NULL,
    used_tokens numeric NOT NULL DEFAULT 0, used_usd numeric NOT NULL DEFAULT 0,
    reserved_tokens numeric NOT NULL DEFAULT 0, reserved_usd numeric NOT NULL DEFAULT 0,
    limit_tokens bigint, limit_usd numeric,
    granted_tokens numeric NOT NULL DEFAULT 0, granted_usd numeric NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX openai_budgets_day_business_key_key ON monitoring.openai_budgets (day, business_key);
CREATE TABLE monitoring.openai_reservations (
    request_id text PRIMARY KEY, {key}, day date NOT NULL, tokens bigint NOT NULL, cost_usd numeric,
    endpoint text NOT NULL, model text,
    state text NOT NULL CONSTRAINT openai_reservations_state_check
        CHECK (state IN ('held', 'settled', 'reaped', 'cancelled')),
    reserved_at timestamptz NOT NULL, settled_at timestamptz, actual_tokens bigint
) WITH (fillfactor = 70);
CREATE INDEX openai_reservations_reserved_at_idx ON monitoring.openai_reservations (reserved_at);
CREATE TABLE monitoring.openai_refusals (
    day date NOT NULL, business_key uuid NOT NULL, reason text NOT NULL, refused_count bigint NOT NULL,
    PRIMARY KEY (day, business_key, reason)
);
-- Unlogged: a refused call must not wait for the disk. A crash loses what was not added up yet, some minutes.
CREATE UNLOGGED TABLE monitoring.openai_refusals_new (
    day date NOT NULL, business_key uuid NOT NULL, reason text NOT NULL, slot smallint NOT NULL,
    refused_count bigint NOT NULL, PRIMARY KEY (day, business_key, reason, slot)
) WITH (fillfactor = 50);
CREATE TABLE monitoring.openai_grants (
    grant_id text PRIMARY KEY, business_id uuid, day date NOT NULL, tokens numeric NOT NULL DEFAULT 0,
    usd numeric NOT NULL DEFAULT 0, author text NOT NULL, reason text NOT NULL,
    granted_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE monitoring.openai_resets (
    {key}, day date NOT NULL, reset_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX openai_resets_day_business_key_key ON monitoring.openai_resets (day, business_key);
CREATE TABLE monitoring.budget_thresholds (percent smallint PRIMARY KEY);
INSERT INTO monitoring.budget_thresholds VALUES (80), (90), (100);
CREATE TABLE monitoring.budget_crossings (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, {key}, day date NOT NULL, unit text NOT NULL,
    threshold_percent smallint NOT NULL, used numeric NOT NULL, allowed numeric NOT NULL,
    crossed_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX budget_crossings_key
    ON monitoring.budget_crossings (day, business_key, unit, threshold_percent);
CREATE TABLE monitoring.ledger_rewrites (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, business_id uuid, day date NOT NULL,
    operation text NOT NULL, tokens_change numeric NOT NULL, usd_change numeric NOT NULL,
    rewritten_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ledger_rewrites_rewritten_at_idx ON monitoring.ledger_rewrites (rewritten_at);
CREATE TABLE monitoring.tracking_writers (
    writer_id uuid PRIMARY KEY, host text NOT NULL, process_id bigint NOT NULL, started_at timestamptz NOT NULL,
    reported_at timestamptz NOT NULL DEFAULT now(), accepted bigint NOT NULL, written bigint NOT NULL,
    spilled bigint NOT NULL, dropped bigint NOT NULL, rejected bigint NOT NULL
);
"""


def upgrade() -> None:
    """Create the tables with the default limit and thresholds."""
    op.execute(_TABLES.replace("{key}", _KEY))
