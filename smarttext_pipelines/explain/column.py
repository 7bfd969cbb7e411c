"""Which rows are behind a column, found by the same expressions that counted them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.explain import behind_calls, behind_texts, behind_usage
from smarttext_pipelines.explain.near import Kind, Wanted
from smarttext_pipelines.metrics import Window

Row = dict[str, Any]
Reader = Callable[[Connection, str, Wanted], list[Row]]

_NAMES = text("SELECT id, name FROM monitoring.business_names WHERE id = ANY (CAST(:ids AS uuid[]))")
_ROLLED_UP = text(
    """
    SELECT table_name AS "computed from", rows, newest_event_at AS "newest event", rolled_up_at AS "rolled up",
           checked_at AS checked
    FROM monitoring.rollup_days WHERE row_day = :day ORDER BY table_name
    """
)


def _rollup(connection: Connection, _column: str, wanted: Wanted) -> list[Row]:
    found = connection.execute(_ROLLED_UP, {"day": wanted.window.days.first})
    return [dict(row) for row in found.mappings()]


READERS: Mapping[str, Reader] = {
    **dict.fromkeys(behind_texts.COLUMNS, behind_texts.read),
    **dict.fromkeys(behind_calls.VOLUME, behind_calls.read_volume),
    **dict.fromkeys(behind_calls.STATES_OF_COLUMN, behind_calls.read_replies),
    **dict.fromkeys(behind_texts.ALERTS, behind_texts.read_alerts),
    **dict.fromkeys(behind_usage.COLUMNS, behind_usage.read),
    **dict.fromkeys(("data_through", "is_final", "updated_at"), _rollup),
}
"""Column of ``daily_stats``, of ``missed_call_replies`` or of the costs → what finds its rows."""


@dataclass(frozen=True)
class Scope:
    """Whose rows are wanted.

    Attributes:
        business: A business; None for what has none.
        is_all: Every business, and what has none.
        audience: ``customer`` or ``owner``: texts to callers, or to owners; None for both.
        shared_senders: Numbers that identify no business.
        reveals: Whether numbers can be read.
    """

    business: UUID | None = None
    is_all: bool = False
    audience: str | None = None
    shared_senders: Sequence[str] = ()
    reveals: bool = False

    @property
    def kind(self) -> Kind:
        """What the rows are looked for by."""
        return Kind.all if self.is_all else Kind.none if self.business is None else Kind.business


def window_of(day: date, zone: ZoneInfo, settle_days: int, now: datetime, reply_minutes: int) -> Window:
    """Return the window of one day as a rollup would see it now."""
    return Window(DayRange(day, day), zone, settle_days, now, reply_minutes=reply_minutes)


def explain_column(
    connection: Connection,
    column: str,
    business: UUID | None,
    window: Window,
    *,
    shared_senders: Sequence[str] = (),
) -> list[Row]:
    """Return the rows that a column counts for a business on a day, in order of time.

    Args:
        connection: In a transaction.
        column: One of ``READERS``.
        business: Business; None for what has none.
        window: Result of ``window_of``.
        shared_senders: Numbers that identify no business.

    Raises:
        InputError: The column cannot be explained.
    """
    return explain_scope(connection, column, Scope(business, shared_senders=shared_senders), window)


def explain_scope(connection: Connection, column: str, scope: Scope, window: Window) -> list[Row]:
    """Return the rows that a column counts in a scope on a day, in order of time.

    Raises:
        InputError: The column cannot be explained, or has no audience.
    """
    if column not in READERS:
        msg = f"'{column}' cannot be explained; one of {', '.join(READERS)} can, and a CA… or SM… sid, and a number"
        raise InputError(msg)
    if scope.audience and column not in behind_texts.COLUMNS:
        msg = f"--audience is for columns of texts, such as messages_sent; {column} counts none"
        raise InputError(msg)
    wanted = Wanted(scope.kind, window, scope.business, shared_senders=scope.shared_senders, reveals=scope.reveals)
    rows = READERS[column](connection, column, wanted)
    if scope.audience:
        rows = [row for row in rows if row["audience"] == scope.audience]
    return named(connection, rows, is_shown=scope.is_all)


def named(connection: Connection, rows: list[Row], *, is_shown: bool = True) -> list[Row]:
    """Return rows with the name of their business in the place of its id, or without it."""
    ids = {str(row["business"]) for row in rows if row.get("business")} if is_shown else set()
    names = (
        {str(row.id): shown_name(row.name) for row in connection.execute(_NAMES, {"ids": sorted(ids)})} if ids else {}
    )
    found = []
    for row in rows:
        told = {name: value for name, value in row.items() if name != "business"}
        if is_shown and "business" in row:
            id_ = row["business"]
            told["business"] = names.get(str(id_), str(id_)) if id_ else "(no business)"
        found.append(told)
    return found
