"""Tell when a tracking process last lost something, apart from how much it has lost since it began."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the columns."""
    op.execute(
        "ALTER TABLE monitoring.tracking_writers ADD COLUMN dropped_at timestamptz, ADD COLUMN rejected_at timestamptz"
    )
