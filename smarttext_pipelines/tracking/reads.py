"""What the pipeline computed, for the application: rows of the public views and of ``daily_stats``, as they are stored.

Days are reporting days, ``start`` and ``end`` included. Nothing is computed here: a day that was not rolled up yet has
no row. Amounts are Decimal.
"""

from datetime import date
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from smarttext_pipelines.core.errors import DatabaseError
from smarttext_pipelines.tracking import process, values
from smarttext_pipelines.tracking.inserts import connect

_ROWS = (
    "SELECT * FROM public.{} WHERE business_id IS NOT DISTINCT FROM %s::uuid AND date BETWEEN %s AND %s ORDER BY date"
)


def get_sms_failure_rate(business_id: UUID | str | None, start: date, end: date) -> list[dict[str, Any]]:
    """Return rows of ``public.sms_failure_rates``; a rate of nothing is None, and its coverage is next to it.

    Args:
        business_id: Business; None for what could not be attributed.
        start: First day.
        end: Last day.

    Raises:
        ValueError: ``business_id`` is no UUID.
        DatabaseError: The database cannot be read.
    """
    return _read("sms_failure_rates", business_id, start, end)


def get_openai_usage(business_id: UUID | str | None, start: date, end: date) -> list[dict[str, Any]]:
    """Return rows of ``public.openai_daily_usage``; arguments and errors as for ``get_sms_failure_rate``."""
    return _read("openai_daily_usage", business_id, start, end)


def get_daily_stats(business_id: UUID | str | None, start: date, end: date) -> list[dict[str, Any]]:
    """Return rows of ``public.daily_stats``; a row whose ``data_through`` is before its end is partial.

    Arguments and errors as for ``get_sms_failure_rate``.
    """
    return _read("daily_stats", business_id, start, end)


def _read(relation: str, business_id: UUID | str | None, start: date, end: date) -> list[dict[str, Any]]:
    business, url = values.uuid("business_id", business_id), process.options().database_url
    if url is None:
        msg = "SMARTTEXT_DATABASE_URL is not set"
        raise DatabaseError(msg)
    try:
        with connect(url) as connection, connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(_ROWS.format(relation), (business, start, end)).fetchall()
    except psycopg.Error as error:
        reason = (error.diag.message_primary or type(error).__name__).splitlines()[0]
        msg = f"the statistics cannot be read: {reason}; check SMARTTEXT_DATABASE_URL and run `smarttext migrate`"
        raise DatabaseError(msg) from None
