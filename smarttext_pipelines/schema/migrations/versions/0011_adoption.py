"""Record what is found under the application's names before it is changed, and what every migrate leaves there."""

from alembic import op

from smarttext_pipelines.schema.adoption.record import RECORD_ONCE

revision = "0011"
down_revision = "0010"

_INSTALLED = """
CREATE TABLE monitoring.installed_objects (
    kind text NOT NULL, object text NOT NULL, state jsonb NOT NULL, PRIMARY KEY (kind, object)
)
"""


def upgrade() -> None:
    """Create the tables; an installation of an earlier version is recorded as it is now."""
    op.execute(RECORD_ONCE)
    op.execute(_INSTALLED)
