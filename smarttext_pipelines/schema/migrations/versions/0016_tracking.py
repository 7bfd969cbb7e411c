"""Tell what tracking processes held in memory only, lost to damaged files, trimmed, or took with an odd number."""

from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add the columns."""
    op.execute(
        "ALTER TABLE monitoring.tracking_writers ADD COLUMN buffered bigint NOT NULL DEFAULT 0, "
        "ADD COLUMN damaged bigint NOT NULL DEFAULT 0, ADD COLUMN trimmed bigint NOT NULL DEFAULT 0, "
        "ADD COLUMN odd_numbers bigint NOT NULL DEFAULT 0"
    )
