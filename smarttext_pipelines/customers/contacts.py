"""What events know of customers beside what they did: whom not to text, and the number, masked.

Whoever may not read events, or has no secret of the keys, learns neither; of archived events nothing is known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from smarttext_pipelines.core.customer_keys import e164_in_sql
from smarttext_pipelines.core.phones import masked_in_sql
from smarttext_pipelines.core.statuses import INBOUND_STATUSES
from smarttext_pipelines.customers.customer_totals import Customer, Suppressed
from smarttext_pipelines.customers.keys_in_sql import BLOCKS, key_in_sql, put_blocks

_MAY_READ = text(
    "SELECT has_function_privilege('monitoring.suppressed_recipients(uuid)', 'EXECUTE')"
    " AND has_table_privilege('monitoring.sms_events', 'SELECT')"
    " AND has_table_privilege('monitoring.call_events', 'SELECT')"
)
_SUPPRESSED = text(
    f"""
    SELECT {key_in_sql("s.recipient")} AS customer_key, s.business_id, s.verdict, s.since, s.reason, s.sent_in_spite
    FROM monitoring.suppressed_recipients(CAST(:business AS uuid)) AS s CROSS JOIN {BLOCKS} AS k
    ORDER BY array_position(ARRAY['opted_out', 'invalid_number', 'unreachable_now', 'allowed'], s.verdict), s.since
    """  # noqa: S608 - expressions of this project
)
_NUMBERS = text(
    f"""
    WITH wanted AS (
        SELECT * FROM unnest(CAST(:businesses AS uuid[]), CAST(:keys AS text[])) AS w (business_id, customer_key)
    ), spelled (business_id, number) AS (
        SELECT business_id, from_number FROM monitoring.call_events WHERE ts >= :start AND ts < :end
        UNION
        SELECT business_id, CASE WHEN lower(status) = ANY (:inbound) THEN from_number ELSE to_number END
        FROM monitoring.sms_events WHERE created_at >= :start AND created_at < :end
    ), keyed AS (
        SELECT {key_in_sql("s.number")} AS customer_key, s.business_id, s.number
        FROM spelled AS s CROSS JOIN {BLOCKS} AS k
        WHERE s.business_id IS NULL OR s.business_id IN (SELECT business_id FROM wanted)
    )
    SELECT w.business_id, w.customer_key, min({masked_in_sql("n.number")}) AS masked
    FROM wanted AS w
    JOIN keyed AS n ON n.customer_key = w.customer_key AND (n.business_id = w.business_id OR n.business_id IS NULL)
    GROUP BY w.business_id, w.customer_key
    """  # noqa: S608
)
_NUMBER_OF = text(
    f"""
    WITH spelled (number) AS (
        SELECT from_number FROM monitoring.call_events WHERE ts >= :start AND ts < :end
        UNION
        SELECT n.number FROM monitoring.sms_events AS e, LATERAL (VALUES (e.from_number), (e.to_number)) AS n (number)
        WHERE e.created_at >= :start AND e.created_at < :end
    )
    SELECT {e164_in_sql("s.number")} FROM spelled AS s CROSS JOIN {BLOCKS} AS k
    WHERE {key_in_sql("s.number")} = :key LIMIT 1
    """  # noqa: S608
)


@dataclass(frozen=True)
class Span:
    """Instants between which events of customers are looked for, the second excluded."""

    start: datetime
    end: datetime


class Contacts:
    """Reads what events know of customers, within one transaction."""

    def __init__(self, connection: Connection, secret: bytes) -> None:
        """Prepare the keys; ``may_read_events`` comes before."""
        self._connection = connection
        put_blocks(connection, secret)

    def suppressed(self, business: UUID | None = None) -> Mapping[str, Sequence[Suppressed]]:
        """Return why not to text customers, by key, the gravest first; of every business by default."""
        found: dict[str, list[Suppressed]] = {}
        for row in self._connection.execute(_SUPPRESSED, {"business": business}).mappings():
            known = {name: value for name, value in row.items() if name != "customer_key"}
            found.setdefault(row["customer_key"], []).append(Suppressed(**known))
        return found

    def of(
        self, customers: Sequence[Customer], suppressed: Mapping[str, Sequence[Suppressed]], span: Span
    ) -> list[Customer]:
        """Return customers with what ``suppressed`` says of them, and numbers of events of the span."""
        numbers = self._numbers(customers, span)
        return [
            replace(
                each,
                number=numbers.get((each.business_id, each.customer_key)),
                suppressed=[
                    s for s in suppressed.get(each.customer_key, ()) if s.business_id in (None, each.business_id)
                ],
            )
            for each in customers
        ]

    def number_of(self, key: str, span: Span) -> str | None:
        """Return the number, in E.164, that a key was made of, or None where no event of the span has it."""
        values = {"key": key, "start": span.start, "end": span.end}
        found: str | None = self._connection.scalar(_NUMBER_OF, values)
        return found

    def _numbers(self, customers: Sequence[Customer], span: Span) -> Mapping[tuple[UUID | None, str], str]:
        values = {
            "businesses": [each.business_id for each in customers], "keys": [each.customer_key for each in customers],
            "start": span.start, "end": span.end, "inbound": list(INBOUND_STATUSES),
        }  # fmt: skip
        return {(row.business_id, row.customer_key): row.masked for row in self._connection.execute(_NUMBERS, values)}


def may_read_events(connection: Connection) -> bool:
    """Return whether the role may read the numbers that keys are made of."""
    return bool(connection.execute(_MAY_READ).scalar_one())
