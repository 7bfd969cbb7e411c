"""Remember what an incident counted, and over which time, so that its rows can be shown; and what a failed run ran."""

from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Add the columns; incidents of before have no rows to show until they are evaluated."""
    op.execute(
        "ALTER TABLE monitoring.incidents ADD COLUMN counted_at timestamptz, ADD COLUMN window_minutes integer, "
        "ADD COLUMN window_start timestamptz, ADD COLUMN window_end timestamptz, ADD COLUMN apart uuid, "
        "ADD COLUMN detail text"
    )
    op.execute("ALTER TABLE monitoring.alert_signals ADD COLUMN subject jsonb")
    op.execute(
        "UPDATE monitoring.alert_signals SET value = 0, detail = 'superseded: checks and runs are kept by day now', "
        "told_at = clock_timestamp() WHERE value > 0 AND (scope LIKE 'check:%' OR scope LIKE 'job:%')"
    )
