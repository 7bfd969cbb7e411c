"""Whom not to text: the secret that the database needs to answer, the marks it keeps, and the list of them."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from smarttext_pipelines.core.customer_key import CustomerKey

MOST_SHOWN = 10_000

# The blocks come by COPY, so that no log of statements or parameters holds them.
_BLOCKS = "CREATE TEMPORARY TABLE told_blocks (inner_block bytea, outer_block bytea) ON COMMIT DROP"
_INSTALL = """
INSERT INTO monitoring.recipient_secret (inner_block, outer_block) SELECT inner_block, outer_block FROM told_blocks
ON CONFLICT (id) DO UPDATE SET inner_block = excluded.inner_block, outer_block = excluded.outer_block
WHERE (recipient_secret.inner_block, recipient_secret.outer_block) <> (excluded.inner_block, excluded.outer_block)
"""
_LIST = """
SELECT m.customer_key, CASE m.kind WHEN 'opt_out' THEN 'opted out' WHEN 'invalid' THEN 'invalid number' END AS reason,
       m.at AS since, m.why, coalesce((SELECT min(b.name) FROM monitoring.businesses AS b
                                       WHERE monitoring.recipient_number(b.twilio_phone) = m.sender), '') AS business
FROM monitoring.recipient_marks AS m
WHERE m.kind IN ('opt_out', 'invalid') AND NOT EXISTS (
    SELECT FROM monitoring.recipient_marks AS o
    WHERE o.customer_key = m.customer_key AND o.at >= m.at + CASE m.kind WHEN 'opt_out' THEN interval '1 microsecond'
                                                                        ELSE interval '0' END
        AND o.kind = CASE m.kind WHEN 'opt_out' THEN 'opt_in' ELSE 'delivered' END
        AND (o.sender = m.sender OR m.sender = ''))
ORDER BY m.at DESC, m.customer_key LIMIT :most
"""


def install_secret(connection: Connection, key: CustomerKey) -> bool:
    """Let the database make keys, in the caller's transaction; whether anything changed.

    Under another secret all marks are those of strangers, and are forgotten.
    """
    connection.exec_driver_sql(_BLOCKS)
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy("COPY told_blocks FROM STDIN (FORMAT csv)") as copy:
        copy.write(f"\\x{key.inner},\\x{key.outer}\n")
    changed = connection.execute(text(_INSTALL)).rowcount > 0
    if changed:
        connection.execute(text("TRUNCATE monitoring.recipient_marks"))
    return changed


def refresh(connection: Connection, since: datetime) -> int:
    """Keep the newest marks from what happened since a time; return how many are new; 0 without a secret."""
    query = text("SELECT monitoring.refresh_recipients(:since)")
    return int(connection.execute(query, {"since": since}).scalar_one())


def list_suppressions(connection: Connection, most: int = MOST_SHOWN) -> list[dict[str, Any]]:
    """Return who opted out and whose number takes no texts, the latest first."""
    return [dict(row) for row in connection.execute(text(_LIST), {"most": most}).mappings()]
