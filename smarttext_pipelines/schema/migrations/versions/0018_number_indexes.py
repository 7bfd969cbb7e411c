"""Index telephone numbers as they are compared, and keep who asked to see some."""

from alembic import op
from sqlalchemy import text

from smarttext_pipelines.schema.migrations.found import database, kind_of
from smarttext_pipelines.schema.near_rows import NUMBER_INDEXES, compared

revision = "0018"
down_revision = "0017"

_IS_TEXT = text(
    """
    SELECT format_type(coalesce(nullif(t.typbasetype, 0), t.oid), NULL) IN ('text', 'character varying')
    FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
    WHERE a.attrelid = to_regclass(:relation) AND a.attname = :column
    """
)
_BROKEN = text("SELECT NOT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")
_REVEALS = """
CREATE TABLE IF NOT EXISTS monitoring.number_reveals (
    id bigint GENERATED ALWAYS AS IDENTITY,
    revealed_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    role text DEFAULT session_user NOT NULL,
    author text NOT NULL,
    what text NOT NULL,
    PRIMARY KEY (id)
);
"""


def upgrade() -> None:
    """Build the indexes without making a writer wait; a view in a table's place, and other types, have none."""
    op.execute(_REVEALS)
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = '10min'")
        for table, column in NUMBER_INDEXES.items():
            kind = kind_of(table)
            if kind in ("r", "p"):
                _build(table, column, is_partitioned=kind == "p")


def _build(table: str, column: str, *, is_partitioned: bool) -> None:
    bind, name = database(), f"{table}_{column}_idx"
    if bind:
        # A table that the script is going to create is not there yet.
        if bind.execute(_IS_TEXT, {"relation": f"public.{table}", "column": column}).scalar() is False:
            return
        if bind.execute(_BROKEN, {"name": f"public.{name}"}).scalar():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS public.{name}")
    # Of a partitioned table none can be built concurrently.
    how = "" if is_partitioned else "CONCURRENTLY "
    op.execute(f"CREATE INDEX {how}IF NOT EXISTS {name} ON public.{table} ({compared(column)})")
