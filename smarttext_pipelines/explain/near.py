"""An engine over the few rows that one answer needs; the metrics' own expressions then count them.

The rows are found by ``monitoring.masked_near_rows``, in which numbers compare as they do, but cannot be read, or by
``monitoring.near_rows`` where somebody may and wants to see them. Both give every row of each key, so that a number
is right to the cell.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

import ibis
import ibis.expr.types as ir
from sqlalchemy import Connection, text

from smarttext_pipelines.core.days import FIRST_INSTANT, LAST_INSTANT
from smarttext_pipelines.core.phones import mask_phone
from smarttext_pipelines.core.statuses import MAX_NUMBERS_OF_A_KEY, MAX_ROWS_OF_A_KEY
from smarttext_pipelines.engines import PostgresEngine, add_repeated_keys
from smarttext_pipelines.engines.unbound import ibis_type
from smarttext_pipelines.metrics import Window
from smarttext_pipelines.metrics.windowed import Expression
from smarttext_pipelines.schema.installation import counts_usage_by_time
from smarttext_pipelines.schema.near_functions import NEAR_COLUMNS
from smarttext_pipelines.schema.tables.lookup import table_named

_ARGUMENTS = (
    "CAST(:kind AS text), CAST(:business AS uuid), CAST(:numbers AS text[]), CAST(:sids AS text[]), "
    "CAST(:begins AS timestamptz), CAST(:ends AS timestamptz), CAST(:looks_from AS timestamptz), "
    "CAST(:looks_until AS timestamptz), CAST(:wants_replies AS boolean)"
)
_CREATE = "CREATE TEMPORARY TABLE near_rows ON COMMIT DROP AS SELECT * FROM monitoring."
_MASKED = f"{_CREATE}masked_near_rows({_ARGUMENTS}, CAST(:shared AS text[]))"
_SHOWN = f"{_CREATE}near_rows({_ARGUMENTS})"
_USAGE = text(
    "CREATE TEMPORARY TABLE near_api_usage ON COMMIT DROP AS SELECT * FROM monitoring.near_usage("
    "CAST(:kind AS text), CAST(:business AS uuid), CAST(:first AS date), CAST(:last AS date), "
    "CAST(:begins AS timestamptz), CAST(:ends AS timestamptz))"
)
_DROP = text(
    "DROP TABLE IF EXISTS pg_temp.near_rows, pg_temp.near_call_events, pg_temp.near_sms_events, "
    "pg_temp.near_owner_alerts, pg_temp.near_businesses, pg_temp.near_api_usage, pg_temp.near_senders, "
    "pg_temp.repeated_keys"
)
"""What an answer before in this transaction has left."""
_MAY_REPEAT = text(
    f"""
    SELECT EXISTS (SELECT FROM pg_temp.near_rows WHERE sid <> '' GROUP BY source, sid
                   HAVING count(*) > {MAX_ROWS_OF_A_KEY}
                       OR count(DISTINCT CASE WHEN source = 'call_events' THEN from_number ELSE to_number END)
                          > {MAX_NUMBERS_OF_A_KEY})
        OR EXISTS (SELECT FROM pg_temp.near_rows WHERE request_id <> '' GROUP BY request_id, to_number
                   HAVING count(*) > {MAX_ROWS_OF_A_KEY})
    """  # noqa: S608 - numbers of ours
)
"""Whether any key has so many rows or numbers that it may be none; mostly not, and then nothing has to be compiled."""
_SPAN = text(
    "SELECT min(at), max(at) FROM monitoring.masked_near_rows(CAST(:kind AS text), NULL, CAST(:numbers AS text[]), "
    "CAST(:sids AS text[]), :first, :last, :first, :last, false, ARRAY[]::text[])"
)
_MORE_DAYS = 3


Span = tuple[datetime, datetime]


class Kind(StrEnum):
    """What the rows are looked for by."""

    business = "business"
    none = "none"
    all = "all"
    number = "number"
    call = "call"
    message = "message"


@dataclass(frozen=True)
class Wanted:
    """What an answer is about.

    Attributes:
        kind: What the rows are looked for by.
        window: The days.
        business: For ``Kind.business``.
        numbers: For ``Kind.number``, as they are compared.
        sids: For ``Kind.call`` and ``Kind.message``.
        wants_replies: Whether texts to the callers are wanted, rather than those of the business.
        shared_senders: Numbers that identify no business.
        reveals: Whether numbers can be read.
    """

    kind: Kind
    window: Window
    business: UUID | None = None
    numbers: Sequence[str] = ()
    sids: Sequence[str] = ()
    wants_replies: bool = False
    shared_senders: Sequence[str] = ()
    reveals: bool = False

    def number(self, told: str | None) -> str:
        """Return a number as it may be shown."""
        return (told or "") if self.reveals else mask_phone(told)

    @property
    def bounds(self) -> dict[str, datetime]:
        """First instants of what begins, and of the rows that are looked at, and the ends."""
        around = replace(self.window, days=self.window.days.widen(self.window.settle_days + _MORE_DAYS))
        slack = timedelta(days=1)
        return {
            "begins": self.window.start_at,
            "ends": self.window.end_at,
            "looks_from": around.start_at - slack,
            "looks_until": around.end_at + slack,
        }


def span_of(
    connection: Connection, kind: Kind, *, numbers: Sequence[str] = (), sids: Sequence[str] = ()
) -> Span | None:
    """Return when the first and the last row of a number or a sid were written; None where there is none."""
    values = {"kind": str(kind), "numbers": list(numbers), "sids": list(sids)}
    first, last = connection.execute(_SPAN, {**values, "first": FIRST_INSTANT, "last": LAST_INSTANT}).one()
    return None if first is None else (first, last)


class NearEngine(PostgresEngine):
    """Runs the metrics' expressions over the rows of an answer, in temporary tables."""

    def __init__(self, connection: Connection, wanted: Wanted) -> None:
        """Find the rows."""
        connection.execute(_DROP)
        values = {
            "kind": str(wanted.kind), "business": wanted.business, "numbers": list(wanted.numbers),
            "sids": list(wanted.sids), "wants_replies": wanted.wants_replies, **wanted.bounds,
        }  # fmt: skip
        statement = text(_SHOWN if wanted.reveals else _MASKED)
        shared = {} if wanted.reveals else {"shared": list(wanted.shared_senders)}
        connection.execute(statement, {**values, **shared})
        for name, own in NEAR_COLUMNS.items():
            columns = ", ".join(f"{shown} AS {column}" for column, shown in own.items())
            found = f"SELECT {columns} FROM pg_temp.near_rows WHERE source = '{name}'"  # noqa: S608 - constant names
            connection.exec_driver_sql(f"CREATE TEMPORARY TABLE near_{name} ON COMMIT DROP AS {found}")
        senders = "SELECT from_number AS number FROM pg_temp.near_rows WHERE source = 'shared_senders'"
        if wanted.reveals:
            senders = "SELECT unnest(CAST(:shared AS text[])) AS number"
        make = text(f"CREATE TEMPORARY TABLE near_senders ON COMMIT DROP AS {senders}")
        connection.execute(make, {"shared": list(wanted.shared_senders)} if wanted.reveals else {})
        for name in ("near_call_events", "near_sms_events", "near_owner_alerts", "near_businesses"):
            connection.exec_driver_sql(f"ANALYZE {name}")
        self._are_few = wanted.kind not in (Kind.all, Kind.none)
        self._may_repeat = bool(connection.scalar(_MAY_REPEAT))
        self._connection, self.kept = connection, {}
        self.tables = {"shared_senders": ibis.table({"number": "string"}, name="near_senders")}
        for name, own in NEAR_COLUMNS.items():
            declared = table_named(name).columns
            self.tables[name] = ibis.table({c: ibis_type(declared[c].type) for c in own}, name=f"near_{name}")

    def _written(self, expression: Expression) -> str:
        """Return the statement that is run.

        Over few rows it may be long, because to shorten it takes most of the time; over a day of all businesses a
        long one takes PostgreSQL minutes.
        """
        fuses, ibis.options.sql.fuse_selects = ibis.options.sql.fuse_selects, not self._are_few
        try:
            return self.sql(expression, is_kept=not self._are_few)
        finally:
            ibis.options.sql.fuse_selects = fuses

    def sids_naming(self, request: str) -> set[str]:
        """Return the sids of the messages of which a row names a request."""
        query = text("SELECT DISTINCT message_sid FROM pg_temp.near_sms_events WHERE request_id = :request")
        return {sid for sid in self._connection.scalars(query, {"request": request}) if sid}

    def add_repeated(self, repeated: Sequence[Callable[[], ir.Table]]) -> None:
        """Tell the statements which keys are none on a day; where no key can be one of them, nothing is asked."""
        if self._may_repeat:
            add_repeated_keys(self, [build() for build in repeated])


def usage_engine(connection: Connection, wanted: Wanted) -> tuple[PostgresEngine, Window]:
    """Return an engine over the usage of a business or of all, and the window as that usage is counted."""
    connection.execute(_DROP)
    days = wanted.window.days
    values = {"kind": str(wanted.kind), "business": wanted.business, "first": days.first, "last": days.last}
    bounds = {name: value for name, value in wanted.bounds.items() if name in ("begins", "ends")}
    connection.execute(_USAGE, {**values, **bounds})
    engine = PostgresEngine(connection)
    schema = {"id": "uuid", "service": "string", "endpoint": "string", "business_id": "uuid", "tokens_used": "int32",
              "cost_estimate": "decimal(18, 6)", "model": "string", "created_at": "timestamp('UTC')",
              "reset_date": "date"}  # fmt: skip
    engine.tables["api_usage"] = ibis.table(schema, name="near_api_usage")
    return engine, replace(wanted.window, usage_by_time=counts_usage_by_time(connection))
