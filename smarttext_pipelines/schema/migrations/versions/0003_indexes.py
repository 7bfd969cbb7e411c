"""Index what rollups and look-ups search by; on existing tables without blocking the application's writes."""

from alembic import op
from sqlalchemy import Connection, text

from smarttext_pipelines.schema.migrations.found import database, kind_of

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
    FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
    WHERE i.indrelid = to_regclass(:relation) AND i.indpred IS NULL
        AND (pg_get_indexdef(i.indexrelid, 1, false) = CAST(:expression AS text) OR c.relname = CAST(:index AS text))
    """
)
_HAS_NO_ZONE = text(
    """
    SELECT format_type(atttypid, NULL) = 'timestamp without time zone' FROM pg_attribute
    WHERE attrelid = to_regclass(:relation) AND attname = :column
    """
)
_PARTITIONS = text(
    """
    SELECT c.oid::regclass::text AS name, c.relkind::text AS kind, n.nspname AS schema, c.relname
    FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE i.inhparent = to_regclass(:relation) AND c.relkind IN ('r', 'p') ORDER BY c.oid
    """
)
_ATTACHED = text(
    """
    SELECT EXISTS (SELECT FROM pg_inherits AS h JOIN pg_index AS i ON i.indexrelid = h.inhrelid
                   WHERE h.inhparent = to_regclass(:index) AND i.indrelid = to_regclass(:relation))
    """
)


def upgrade() -> None:
    """Build every index that no valid one stands in for; drop what an interrupted build left behind."""
    with op.get_context().autocommit_block():
        # A concurrent build makes no writer wait, but waits itself for every transaction that was there before it.
        op.execute("SET lock_timeout = '10min'")
        for table, columns in _COLUMNS.items():
            kind = kind_of(table)
            for column in columns if kind in ("r", "p") else ():
                _build(table, column, kind)


def _build(table: str, column: str, kind: str) -> None:
    name, expression = f"{table}_{column}_idx", column
    bind = database()
    if bind:
        if bind.execute(_HAS_NO_ZONE, {"relation": f"public.{table}", "column": column}).scalar():
            # It is read as an instant of UTC, so that is what must be found.
            name, expression = f"{table}_{column}_utc_idx", f"({column} AT TIME ZONE 'UTC')"
        names = {"relation": f"public.{table}", "expression": expression, "index": name}
        found = bind.execute(_LEADING, names).all()
        if any(index.is_valid for index in found):
            return
        if kind == "p":
            _build_partitioned(bind, "public", table, name, expression)
            return
        for index in found:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}")
    op.execute(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON public.{table} ({expression})")


def _build_partitioned(bind: Connection, schema: str, table: str, name: str, expression: str) -> None:
    """Index a partitioned table, which cannot be done concurrently, by concurrent builds on its partitions."""
    parent = f'"{schema}"."{table}"'
    op.execute(f'CREATE INDEX IF NOT EXISTS "{name}" ON ONLY {parent} ({expression})')
    for part in bind.execute(_PARTITIONS, {"relation": parent}).all():
        if bind.execute(_ATTACHED, {"index": f'"{schema}"."{name}"', "relation": part.name}).scalar():
            continue
        index = f"{part.relname[:40]}_{name[-22:]}"
        if part.kind == "p":
            _build_partitioned(bind, part.schema, part.relname, index, expression)
        else:
            op.execute(f'DROP INDEX CONCURRENTLY IF EXISTS "{part.schema}"."{index}"')
            op.execute(f'CREATE INDEX CONCURRENTLY "{index}" ON {part.name} ({expression})')
        op.execute(f'ALTER INDEX "{schema}"."{name}" ATTACH PARTITION "{part.schema}"."{index}"')
