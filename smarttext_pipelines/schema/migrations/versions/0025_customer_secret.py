"""Keep which secret the customers' keys are made under, as a fingerprint."""

from alembic import op

revision = "0025"
down_revision = "0024"

_TABLE = """
CREATE TABLE monitoring.customer_secrets (
    is_only_row boolean PRIMARY KEY DEFAULT true,
    fingerprint text NOT NULL,
    used_since timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT customer_secrets_is_only_row_check CHECK (is_only_row)
);
"""


def upgrade() -> None:
    """Create the table; the first rollup of customers fills it."""
    op.execute(_TABLE)
