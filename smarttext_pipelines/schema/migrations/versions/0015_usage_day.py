"""Remember in which zone the application counts its usage, where the table is the application's own."""

from alembic import op

revision = "0015"
down_revision = "0012"


def upgrade() -> None:
    """Add the column; a database that was adopted before has the reporting day as its default, which NULL means."""
    op.execute("ALTER TABLE monitoring.installation ADD COLUMN reset_date_zone text")
