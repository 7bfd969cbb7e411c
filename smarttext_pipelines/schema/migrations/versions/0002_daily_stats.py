"""Create or adopt ``daily_stats``: widen it, set the rows aside that its new key cannot hold, lose none.

It is the one table that is rewritten, in a transaction of its own, so that the application's events are not locked.
"""

from alembic import op

from smarttext_pipelines.schema.migrations.found import to_business
from smarttext_pipelines.schema.migrations.lock import lock
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

_WIDEN = """
ALTER TABLE public.daily_stats
    ALTER COLUMN openai_tokens_used TYPE bigint,
    ALTER COLUMN openai_cost_estimate TYPE numeric(38, 6)
"""

_ADOPT = """
CREATE TABLE monitoring.daily_stats_adopted (
    id uuid PRIMARY KEY, business_id uuid, date date NOT NULL, "row" jsonb NOT NULL,
    adopted_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO monitoring.daily_stats_adopted (id, business_id, date, "row")
SELECT id, business_id, date, to_jsonb(s) FROM public.daily_stats AS s;
DELETE FROM public.daily_stats AS s
USING (
    SELECT id, row_number() OVER (PARTITION BY business_id, date ORDER BY updated_at DESC NULLS LAST, id) AS place
    FROM public.daily_stats
) AS repeated
WHERE repeated.id = s.id AND repeated.place > 1;
DO $$
DECLARE old record;
BEGIN
    -- Several rows without business could exist for one date, because the old key told NULLs apart.
    FOR old IN
        SELECT i.indexrelid::regclass AS name, c.conname
        FROM pg_index AS i LEFT JOIN pg_constraint AS c ON c.conindid = i.indexrelid AND c.contype = 'u'
        WHERE i.indrelid = 'public.daily_stats'::regclass AND i.indisunique AND i.indnkeyatts = 2
            AND (SELECT array_agg(attname::text ORDER BY attname) FROM pg_attribute
                 WHERE attrelid = i.indrelid AND attnum = ANY (i.indkey)) = ARRAY['business_id', 'date']
    LOOP
        IF old.conname IS NOT NULL THEN
            EXECUTE format('ALTER TABLE public.daily_stats DROP CONSTRAINT %I', old.conname);
        ELSE
            EXECUTE format('DROP INDEX %s', old.name);
        END IF;
    END LOOP;
END $$;
CREATE UNIQUE INDEX daily_stats_business_id_date_key ON public.daily_stats (business_id, date) NULLS NOT DISTINCT;
"""


def upgrade() -> None:
    """Create what is missing, widen what is too narrow, keep a copy of every row."""
    op.execute(lock("daily_stats"))
    op.execute(create_table("daily_stats"))
    added = ", ".join(f"ADD COLUMN IF NOT EXISTS {column}" for column in _COLUMNS)
    added = added.replace("{to_business}", to_business())
    op.execute(f"ALTER TABLE public.daily_stats {added}")
    op.execute(_WIDEN)
    op.execute(_ADOPT)
