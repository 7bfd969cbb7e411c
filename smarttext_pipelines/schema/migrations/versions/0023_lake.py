"""Add the manifest of the event lake."""

from alembic import op

revision = "0023"
down_revision = "0022"

_TABLE = """
CREATE TABLE monitoring.lake_files (
    table_name text NOT NULL,
    day date NOT NULL,
    key text,
    sha256 text,
    rows bigint,
    bytes bigint,
    oldest_event_at timestamptz,
    newest_event_at timestamptz,
    source_rows bigint,
    exported_at timestamptz,
    planned_key text,
    replaced_key text,
    CONSTRAINT lake_files_pkey PRIMARY KEY (table_name, day)
);
CREATE INDEX lake_files_unfinished_idx ON monitoring.lake_files (table_name, day) WHERE planned_key IS NOT NULL;
"""


def upgrade() -> None:
    """Create it; it is empty until something is exported."""
    op.execute(_TABLE)
