"""Create the table of rows that a table of the application refused, to be written when it takes them."""

from alembic import op

revision = "0012"
down_revision = "0011"

_TABLES = """
CREATE TABLE monitoring.refused_rows (
    table_name text NOT NULL,
    row_id uuid NOT NULL,
    "row" jsonb NOT NULL,
    reason text NOT NULL,
    refused_count integer NOT NULL,
    first_refused_at timestamptz NOT NULL,
    last_refused_at timestamptz NOT NULL,
    PRIMARY KEY (table_name, row_id)
);
"""


def upgrade() -> None:
    """Create it."""
    op.execute(_TABLES)
