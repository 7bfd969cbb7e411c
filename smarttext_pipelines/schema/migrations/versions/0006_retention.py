"""Create the manifest of the archive and the record of erasures."""

from alembic import op

revision = "0006"
down_revision = "0005"

_TABLES = """
CREATE TABLE monitoring.archive_segments (
    id uuid PRIMARY KEY, table_name text NOT NULL, day date NOT NULL, seq integer NOT NULL, state text NOT NULL
        CONSTRAINT archive_segments_state_check
        CHECK (state IN ('planned', 'verified', 'deleted', 'restored', 'superseded')),
    object_key text, file_sha256 text, content_sha256 text, rows bigint, bytes bigint, uncompressed_bytes bigint,
    min_at timestamptz, max_at timestamptz, deleted_rows bigint, changed_rows bigint, changed_ids uuid[],
    hold_until timestamptz, schema_version text, failure text, planned_at timestamptz NOT NULL DEFAULT now(),
    verified_at timestamptz, deleted_at timestamptz, checked_at timestamptz
);
CREATE UNIQUE INDEX archive_segments_table_name_day_seq_key ON monitoring.archive_segments (table_name, day, seq)
    WHERE state <> 'superseded';
CREATE UNIQUE INDEX archive_segments_unfinished_key ON monitoring.archive_segments (table_name, day)
    WHERE state IN ('planned', 'verified');
CREATE TABLE monitoring.erasures (
    id uuid PRIMARY KEY, started_at timestamptz NOT NULL DEFAULT now(), finished_at timestamptz,
    live_rows jsonb NOT NULL DEFAULT '{}'::jsonb, archived_rows jsonb NOT NULL DEFAULT '{}'::jsonb,
    segments_rewritten integer NOT NULL DEFAULT 0
);
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(_TABLES)
