"""Create or adopt the application's tables; create the tables of the schema ``monitoring``.

Every statement can meet a database that already holds the tables: columns are added where missing, and nothing that
exists is rewritten.
"""

from alembic import op

from smarttext_pipelines.schema.adoption.record import RECORD_ONCE
from smarttext_pipelines.schema.migrations.found import is_table, to_business
from smarttext_pipelines.schema.migrations.lock import lock
from smarttext_pipelines.schema.migrations.reshaping import WIDEN_USAGE
from smarttext_pipelines.schema.migrations.row_security import create_table

revision = "0001"
down_revision = None

_BUSINESS = "business_id uuid{to_business}"
_EMPTY = "'{}'::jsonb"
_SOURCES = {
    "businesses": (
        "name text NOT NULL",
        "business_type text DEFAULT 'other'",
        "public_phone text",
        "twilio_phone text",
        "forwarding_number text",
        "address text",
        "subscription_tier text DEFAULT 'basic'",
        "trial_ends_at timestamptz",
        "created_at timestamptz DEFAULT now()",
        "updated_at timestamptz DEFAULT now()",
        f"custom_settings jsonb DEFAULT {_EMPTY}",
        f"hours_json jsonb DEFAULT {_EMPTY}",
        "faqs_json jsonb DEFAULT '[]'::jsonb",
    ),
    "call_events": (
        "call_sid text",
        "from_number text",
        "to_number text",
        _BUSINESS,
        "event_type text NOT NULL",
        "call_status text",
        "owner_notified boolean DEFAULT false",
        "ts timestamptz DEFAULT now()",
        f"payload jsonb DEFAULT {_EMPTY}",
    ),
    "sms_events": (
        "message_sid text",
        "from_number text NOT NULL",
        "to_number text NOT NULL",
        _BUSINESS,
        "status text NOT NULL",
        "error_code text",
        "error_message text",
        "request_id text",
        "body_length integer",
        "created_at timestamptz DEFAULT now()",
        f"payload jsonb DEFAULT {_EMPTY}",
    ),
    "api_usage": (
        "service text NOT NULL",
        "endpoint text NOT NULL",
        _BUSINESS,
        "tokens_used integer DEFAULT 0",
        "cost_estimate numeric(18, 6) DEFAULT 0",
        "model text",
        "created_at timestamptz DEFAULT now()",
        "reset_date date",
        "request_id text",
        f"metadata jsonb DEFAULT {_EMPTY}",
    ),
    "owner_alerts": (
        f"{_BUSINESS} NOT NULL",
        "owner_phone text NOT NULL",
        "customer_phone text NOT NULL",
        "alert_type text NOT NULL",
        "message_content text NOT NULL",
        "detection_source text",
        "message_sid text",
        "delivered boolean DEFAULT false",
        "error_message text",
        "created_at timestamptz DEFAULT now()",
    ),
}

_MONITORING = """
CREATE TABLE monitoring.installation (
    is_only_row boolean PRIMARY KEY DEFAULT true CONSTRAINT installation_is_only_row_check CHECK (is_only_row),
    reporting_timezone text NOT NULL,
    installed_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE monitoring.rollup_days (
    table_name text NOT NULL, row_day date NOT NULL, rows bigint NOT NULL, newest_event_at timestamptz,
    rolled_up_at timestamptz, checked_at timestamptz, PRIMARY KEY (table_name, row_day)
);
CREATE TABLE monitoring.rollup_requests (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, row_day date NOT NULL, business_id uuid, reason text NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT clock_timestamp(), claimed_at timestamptz
);
CREATE INDEX rollup_requests_row_day_idx ON monitoring.rollup_requests (row_day);
CREATE TABLE monitoring.sms_outcomes (
    id uuid PRIMARY KEY, day date NOT NULL, business_id uuid, audience text NOT NULL, sender text,
    status text NOT NULL, status_class text NOT NULL, error_code text, message_count bigint NOT NULL,
    late_report_count bigint NOT NULL, inbound_count bigint NOT NULL, updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sms_outcomes_day_idx ON monitoring.sms_outcomes (day);
CREATE TABLE monitoring.spend (
    id uuid PRIMARY KEY, day date NOT NULL, business_id uuid, service text NOT NULL, model text,
    endpoint text NOT NULL, request_count bigint NOT NULL, tokens_used bigint NOT NULL,
    cost_usd numeric(38, 6) NOT NULL,
    unpriced_requests bigint NOT NULL, unpriced_tokens bigint NOT NULL, unpriced_cost_upper_usd numeric(38, 6),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX spend_day_idx ON monitoring.spend (day);
CREATE TABLE monitoring.call_volume (
    id uuid PRIMARY KEY, day date NOT NULL, business_id uuid, calls_total bigint NOT NULL, calls_missed bigint NOT NULL,
    messages_received bigint NOT NULL, updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX call_volume_day_idx ON monitoring.call_volume (day);
CREATE TABLE monitoring.owner_alert_delivery (
    id uuid PRIMARY KEY, day date NOT NULL, business_id uuid, alert_type text NOT NULL, sent_count bigint NOT NULL,
    failed_count bigint NOT NULL, updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX owner_alert_delivery_day_idx ON monitoring.owner_alert_delivery (day);
CREATE TABLE monitoring.sms_failure_rates (
    id uuid PRIMARY KEY, business_id uuid, date date NOT NULL, total_attempts bigint NOT NULL,
    successful bigint NOT NULL, failed bigint NOT NULL, failure_rate_percent numeric(5, 2),
    in_flight bigint NOT NULL, suppressed bigint NOT NULL,
    unknown bigint NOT NULL, coverage_percent numeric(5, 2), failure_rate_lower_percent numeric(5, 2),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sms_failure_rates_date_idx ON monitoring.sms_failure_rates (date);
"""


def upgrade() -> None:
    """Create what is missing, widen what is too narrow."""
    op.execute(lock(*_SOURCES, "openai_daily_usage"))
    op.execute(RECORD_ONCE)
    for table, columns in _SOURCES.items():
        if not is_table(table):
            continue
        op.execute(create_table(table))
        added = ", ".join(f"ADD COLUMN IF NOT EXISTS {column}" for column in columns)
        if table != "businesses":
            added = added.replace("{to_business}", to_business())
        op.execute(f"ALTER TABLE public.{table} {added}")
    op.execute(_MONITORING)
    op.execute(WIDEN_USAGE)
