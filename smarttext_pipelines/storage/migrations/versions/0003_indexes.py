"""Index what rollups and look-ups search by; on existing tables without blocking the application's writes."""

from alembic import context, op
from sqlalchemy import text

revision = "0003"
down_revision = "0002"

_COLUMNS = {
    "call_events": ("business_id", "call_sid", "ts"),
    "sms_events": ("business_id", "created_at", "message_sid", "status"),
    "api_usage": ("business_id", "created_at", "reset_date"),
    "owner_alerts": ("business_id", "created_at", "message_sid"),
    "daily_stats": ("date",),
}
_LEADING = text(
    """
    SELECT i.indexrelid::regclass::text AS name, i.indisvalid AS is_valid
    FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    WHERE i.indrelid = to_regclass(:relation) AND a.attname = :column AND i.indpred IS NULL
    """
)


def upgrade() -> None:
    """Build every index that no valid one stands in for; drop what an interrupted build left behind."""
    with op.get_context().autocommit_block():
        # A concurrent build makes no writer wait, but waits itself for every transaction that was there before it.
        op.execute("SET lock_timeout = '10min'")
        for table, columns in _COLUMNS.items():
            for column in columns:
                _build(table, column)


def _build(table: str, column: str) -> None:
    if not context.is_offline_mode():
        found = op.get_bind().execute(_LEADING, {"relation": f"public.{table}", "column": column}).all()
        for index in found:
            if not index.is_valid:
                op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}")
        if any(index.is_valid for index in found):
            return
    op.execute(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {table}_{column}_idx ON public.{table} ({column})")
