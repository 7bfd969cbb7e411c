"""Every business and the platform as series by day, read from ``daily_stats``, the only input of the model."""

from collections.abc import Mapping
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
_CELLS = f"""
COPY (
    SELECT s.date - CAST(%(first)s AS date), coalesce(b.n - 1, cardinality(CAST(%(ids)s AS uuid[])))::integer,
           {", ".join(f"coalesce(s.{column}::double precision, 'NaN')" for column in COLUMNS)}
    FROM public.daily_stats AS s
    LEFT JOIN unnest(CAST(%(ids)s AS uuid[])) WITH ORDINALITY AS b (id, n) ON b.id = s.business_id
    WHERE s.date = ANY (CAST(%(days)s AS date[]))
) TO STDOUT (FORMAT binary)
"""  # noqa: S608 - constants
_HEADER_BYTES, _TRAILER_BYTES = 19, 2
_ROW = np.dtype(
    [("fields", ">i2"), ("l_day", ">i4"), ("day", ">i4"), ("l_series", ">i4"), ("series", ">i4")]
    + [pair for column in COLUMNS for pair in ((f"l_{column}", ">i4"), (column, ">f8"))]
)
"""A row of PostgreSQL's binary COPY: the number of fields, and each value after its length."""


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
    """Return the series of some days; a day that was not rolled up after its end is not known.

    Args:
        connection: In a transaction, so that all is of one snapshot.
        days: The days.
        zone: Reporting zone.
    """
    complete = complete_days(connection, days, zone)
    ids = tuple(connection.scalars(_BUSINESSES, {"first": days.first, "last": days.last}))
    cells = {name: np.full((len(days), len(ids) + 1), np.nan) for name in COLUMNS}
    for day in complete:
        for matrix in cells.values():
            matrix[(day - days.first).days] = 0.0
    rows = np.frombuffer(_read(connection, days, ids, complete), _ROW)
    at = (rows["day"].astype(int), rows["series"].astype(int))
    for name, matrix in cells.items():
        matrix[at] = rows[name]
        # What belongs to no business was put in the platform's place.
        matrix[:, -1] = matrix.sum(axis=1)
    return Series(days, ids, cells)


def _read(connection: Connection, days: DayRange, ids: tuple[UUID, ...], complete: set[date]) -> bytes:
    values = {"first": days.first, "ids": list(ids), "days": sorted(complete)}
    driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    with driver.cursor() as cursor, cursor.copy(_CELLS, values) as copy:
        return b"".join(bytes(block) for block in copy)[_HEADER_BYTES:-_TRAILER_BYTES]
