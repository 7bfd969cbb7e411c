"""Add what the sampler keeps of the day that is going on, for the dashboard."""

from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Create the table; it is empty until a sampler runs."""
    op.execute(
        "CREATE TABLE monitoring.live_today (day date PRIMARY KEY, as_of timestamptz NOT NULL, numbers jsonb NOT NULL)"
    )
