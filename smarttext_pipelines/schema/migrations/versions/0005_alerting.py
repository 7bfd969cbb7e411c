"""Create the tables of alerting: incidents, their outbox, silences, signals."""

from alembic import op

revision = "0005"
down_revision = "0004"

_TABLES = """
CREATE TABLE monitoring.incidents (
    id bigint GENERATED ALWAYS AS IDENTITY,
    rule text NOT NULL,
    scope text NOT NULL,
    business_id uuid,
    state text NOT NULL,
    severity text NOT NULL,
    since timestamptz NOT NULL,
    breaches integer DEFAULT 0 NOT NULL,
    fired_at timestamptz,
    clear_since timestamptz,
    resolved_at timestamptz,
    reason text,
    value numeric,
    part numeric,
    whole numeric,
    peak numeric,
    told text,
    acknowledged text,
    acknowledged_by text,
    held_by text,
    muted_by text,
    muted_severity text,
    sequence integer DEFAULT 0 NOT NULL,
    evaluated_at timestamptz NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX incidents_fired_at_idx ON monitoring.incidents (fired_at);
CREATE UNIQUE INDEX incidents_open_key ON monitoring.incidents (rule, scope) WHERE state <> 'resolved';
CREATE TABLE monitoring.notifications (
    id bigint GENERATED ALWAYS AS IDENTITY,
    tag text DEFAULT substr(replace(gen_random_uuid()::text, '-', ''), 1, 10) NOT NULL,
    incident_id bigint NOT NULL,
    sequence integer NOT NULL,
    kind text NOT NULL,
    severity text NOT NULL,
    channel text NOT NULL,
    recipient text NOT NULL,
    message jsonb NOT NULL,
    status text DEFAULT 'pending' NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    may_have_arrived boolean DEFAULT false NOT NULL,
    claimed_by text,
    lease_until timestamptz,
    due_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    deadline_at timestamptz NOT NULL,
    provider_id text,
    note text,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    first_attempt_at timestamptz,
    finished_at timestamptz,
    PRIMARY KEY (id)
);
CREATE INDEX notifications_created_at_idx ON monitoring.notifications (created_at);
CREATE UNIQUE INDEX notifications_key ON monitoring.notifications (incident_id, sequence, channel, recipient);
CREATE INDEX notifications_open_idx ON monitoring.notifications (due_at)
WHERE status IN ('pending', 'sending', 'unknown');
CREATE TABLE monitoring.silences (
    id bigint GENERATED ALWAYS AS IDENTITY,
    rule text,
    scope text,
    author text NOT NULL,
    reason text NOT NULL,
    starts_at timestamptz DEFAULT now() NOT NULL,
    ends_at timestamptz NOT NULL,
    PRIMARY KEY (id)
);
CREATE TABLE monitoring.alert_signals (
    signal text NOT NULL,
    scope text NOT NULL,
    value numeric NOT NULL,
    detail text,
    told_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    PRIMARY KEY (signal, scope)
);
CREATE TABLE monitoring.rule_states (
    rule text NOT NULL,
    verdict text NOT NULL,
    note text,
    breaches integer DEFAULT 0 NOT NULL,
    evaluated_at timestamptz NOT NULL,
    PRIMARY KEY (rule)
);
CREATE TABLE monitoring.alert_targets (
    channel text NOT NULL,
    recipient text NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (channel, recipient)
);
"""


def upgrade() -> None:
    """Create them; there is nothing to adopt."""
    op.execute(_TABLES)
