"""Every business and the platform as series by day, read from ``daily_stats``, the only input of the model."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, cast
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import psycopg
from sqlalchemy import Connection, text

from smarttext_pipelines.anomalies.series_kinds import COLUMNS, SeriesKind
from smarttext_pipelines.anomalies.tails import Floats
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.rates import COVERAGE_FLOOR_PERCENT
from smarttext_pipelines.database.rolled_up_days import complete_days

_BUSINESSES = text(
    """
    SELECT business_id FROM public.daily_stats
    WHERE date BETWEEN :first AND :last AND business_id IS NOT NULL GROUP BY business_id ORDER BY business_id
    """
)
_WIDE = ("openai_tokens_used", "openai_cost_estimate")
"""Columns that single precision, which is exact up to 2 to the power of 24, may not hold for a business and day."""


def _array(column: str) -> str:
    type_ = "double precision" if column in _WIDE else "real"
    return f"array_agg(coalesce(s.{column}::{type_}, 'NaN'))"


_CELLS = f"""
    SELECT s.date - CAST(%(first)s AS date),
           array_agg(coalesce(b.n - 1, cardinality(CAST(%(ids)s AS uuid[])))::integer),
           {", ".join(map(_array, COLUMNS))}
    FROM public.daily_stats AS s
    LEFT JOIN unnest(CAST(%(ids)s AS uuid[])) WITH ORDINALITY AS b (id, n) ON b.id = s.business_id
    WHERE s.date = ANY (CAST(%(days)s AS date[]))
    GROUP BY s.date
"""  # noqa: S608 - constants
_HEADER_BYTES = 20
"""Of PostgreSQL's binary form of an array in one dimension, before its elements; each of these has its length first."""


@dataclass(frozen=True)
class Series:
    """Columns of ``daily_stats`` as matrices of days × series; NaN where nothing is known.

    Attributes:
        days: The days.
        businesses: Ids of the series, in order; the last series, which has none, is the platform's.
        cells: By column. Zero where a day was rolled up and a business had no event.
    """

    days: DayRange
    businesses: tuple[UUID, ...]
    cells: Mapping[str, Floats]

    def parts(self, kind: SeriesKind) -> tuple[Floats, Floats | None]:
        """Return what is counted and what it is out of; both are NaN where too little of that is known."""
        part = self.cells[kind.part]
        if not kind.whole:
            return part, None
        whole: Floats = np.sum([self.cells[name] for name in kind.whole], axis=0)
        if kind.unknown:
            unknown = np.sum([self.cells[name] for name in kind.unknown], axis=0)
            is_covered = whole * 100 >= (whole + unknown) * float(COVERAGE_FLOOR_PERCENT)
            whole = np.where(is_covered, whole, np.nan)
        is_known = ~(np.isnan(part) | np.isnan(whole))
        return np.where(is_known, part, np.nan), np.where(is_known, whole, np.nan)


def read_series(connection: Connection, days: DayRange, zone: ZoneInfo) -> Series:
    """Return the series of some days, from the first that is known; one not rolled up after its end is not.

    Args:
        connection: In a transaction, so that all is of one snapshot.
        days: The days.
        zone: Reporting zone.
    """
    complete = complete_days(connection, days, zone)
    if complete:
        days = DayRange(min(complete), days.last)
    ids = tuple(connection.scalars(_BUSINESSES, {"first": days.first, "last": days.last}))
    cells = {name: np.full((len(days), len(ids) + 1), np.nan) for name in COLUMNS}
    for day in complete:
        for matrix in cells.values():
            matrix[(day - days.first).days] = 0.0
    for row, (series, *values) in _read(connection, days, ids, complete):
        at = _elements(series, ">i4")
        for name, value in zip(COLUMNS, values, strict=True):
            cells[name][row, at] = _elements(value, ">f8" if name in _WIDE else ">f4")
    for matrix in cells.values():
        # What belongs to no business was put in the platform's place.
        matrix[:, -1] = matrix.sum(axis=1)
    return Series(days, ids, cells)


def _read(
    connection: Connection, days: DayRange, ids: tuple[UUID, ...], complete: set[date]
) -> Iterator[tuple[int, list[bytes]]]:
    """Yield for each day its row, and its columns as PostgreSQL sends them: lists of Python would take seconds."""
    # Sorting all cells on disk would take as long as reading them.
    connection.exec_driver_sql("SET LOCAL work_mem = '256MB'")
    driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    with driver.cursor(binary=True) as cursor:
        cursor.execute(_CELLS, {"first": days.first, "ids": list(ids), "days": sorted(complete)})
        found = cast("psycopg.pq.abc.PGresult", cursor.pgresult)
        for n in range(found.ntuples):
            day, *columns = (found.get_value(n, column) or b"" for column in range(found.nfields))
            yield int.from_bytes(day, "big"), columns


def _elements(array: bytes, type_: str) -> Floats:
    return np.frombuffer(array, [("length", ">i4"), ("value", type_)], offset=_HEADER_BYTES)["value"]
