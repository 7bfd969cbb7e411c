"""Count an upper price where usage names no cost, and keep what the ledger refuses."""

from alembic import op

revision = "0010"
down_revision = "0009"

_STATEMENTS = """
CREATE TABLE monitoring.openai_prices (
    model text NOT NULL, valid_from date NOT NULL, upper_nano_usd_per_token bigint NOT NULL,
    PRIMARY KEY (model, valid_from)
);
ALTER TABLE monitoring.openai_reservations ADD COLUMN held_usd numeric, ADD COLUMN actual_usd numeric,
    ADD COLUMN refusal text, ADD COLUMN unbooked_usd numeric;
CREATE INDEX openai_reservations_refusal_idx ON monitoring.openai_reservations (request_id) WHERE refusal IS NOT NULL;
"""


def upgrade() -> None:
    """Add table and columns; prices and what counts with them are renewed by every migrate."""
    op.execute(_STATEMENTS)
