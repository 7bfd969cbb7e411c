"""Create what says whom not to text."""

from alembic import op

revision = "0020"
down_revision = "0019"

_TABLES = """
CREATE TABLE monitoring.recipient_secret (
    id smallint PRIMARY KEY DEFAULT 1 CONSTRAINT recipient_secret_id_check CHECK (id = 1),
    inner_block bytea NOT NULL,
    outer_block bytea NOT NULL
);
CREATE TABLE monitoring.recipient_marks (
    customer_key uuid NOT NULL,
    sender text NOT NULL,
    kind text NOT NULL,
    at timestamptz NOT NULL,
    why text,
    PRIMARY KEY (customer_key, sender, kind)
);
"""


def upgrade() -> None:
    """Create it."""
    op.execute(_TABLES)
