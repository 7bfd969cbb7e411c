"""Keys of customers in hand-written statements: the blocks of the secret are a row of a temporary table.

A parameter may be logged, and ``auto_explain`` shows it; what is copied is in no statement and in no plan.
"""

from typing import Any

from sqlalchemy import Connection

from smarttext_pipelines.core.customer_keys import e164_in_sql, padded_blocks

BLOCKS = "pg_temp.blocks_of_customers"


def put_blocks(connection: Connection, secret: bytes) -> None:
    """Put the blocks of the secret into ``BLOCKS`` until the transaction ends."""
    connection.exec_driver_sql(
        "CREATE TEMPORARY TABLE IF NOT EXISTS blocks_of_customers (inner_block text, outer_block text) ON COMMIT DROP"
    )
    connection.exec_driver_sql(f"TRUNCATE {BLOCKS}")
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f"COPY {BLOCKS} FROM STDIN") as copy:
        copy.write_row(padded_blocks(secret))


def key_in_sql(number: str) -> str:
    """Return the expression of the key of a number, NULL for nobody's; the statement reads ``BLOCKS`` as ``k``."""
    inner = f"sha256(decode(k.inner_block, 'hex') || convert_to({e164_in_sql(number)}, 'UTF8'))"
    return f"encode(sha256(decode(k.outer_block, 'hex') || {inner}), 'hex')"
