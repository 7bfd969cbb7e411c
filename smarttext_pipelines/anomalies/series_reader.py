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
_COUNTS = tuple(name for name in COLUMNS if name not in ("openai_tokens_used", "openai_cost_estimate"))
_NULL, _WIDE_NULL = -(2**31), -(2**63)
_MILLION = 1_000_000


def _packed() -> Iterator[str]:
    """Yield 64 bits each: two counts, the tokens, and the cost in millionths of a dollar, which its column counts in.

    A call of a function for each cell is what reading costs; so there are half as many.
    """
    place = "coalesce(b.n - 1, cardinality(CAST(%(ids)s AS uuid[])))::integer"
    cells = [place, *(f"coalesce(s.{name}, {_NULL})" for name in _COUNTS)]
    cells += ["0"] * (len(cells) % 2)
    for high, low in zip(cells[::2], cells[1::2], strict=True):
        yield f"({high}::bigint << 32) | ({low}::bigint & 4294967295)"
    yield f"coalesce(s.openai_tokens_used, {_WIDE_NULL})"
    yield f"coalesce((s.openai_cost_estimate * {_MILLION})::bigint, {_WIDE_NULL})"


_RECORD = np.dtype(
    [
        ("place", ">i4"),
        *((name, ">i4") for name in _COUNTS),
        *([] if len(_COUNTS) % 2 else [("", ">i4")]),
        ("openai_tokens_used", ">i8"),
        ("openai_cost_estimate", ">i8"),
    ]
)
"""A business and day as the server packs it."""

# Grouping the ids tells the planner that they are unique: else it hashes the days and not the businesses.
_CELLS = f"""
    SELECT s.date - CAST(%(first)s AS date), string_agg({" || ".join(f"int8send({each})" for each in _packed())}, '')
    FROM public.daily_stats AS s
    LEFT JOIN (
        SELECT u.id, min(u.n) AS n FROM unnest(CAST(%(ids)s AS uuid[])) WITH ORDINALITY AS u (id, n) GROUP BY u.id
    ) AS b ON b.id = s.business_id
    WHERE s.date = ANY (CAST(%(days)s AS date[]))
    GROUP BY s.date
"""  # noqa: S608 - constants


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
    for row, packed in _read(connection, days, ids, complete):
        records = np.frombuffer(packed, _RECORD)
        at = records["place"]
        for name, matrix in cells.items():
            matrix[row, at] = _known(records[name], _NULL if name in _COUNTS else _WIDE_NULL)
        cells["openai_cost_estimate"][row, at] /= _MILLION
    for matrix in cells.values():
        # What belongs to no business was put in the platform's place.
        matrix[:, -1] = matrix.sum(axis=1)
    return Series(days, ids, cells)


def _read(
    connection: Connection, days: DayRange, ids: tuple[UUID, ...], complete: set[date]
) -> Iterator[tuple[int, bytes]]:
    """Yield for each day its row, and its records as PostgreSQL sends them: lists of Python would take seconds."""
    # Sorting all cells on disk would take as long as reading them.
    connection.exec_driver_sql("SET LOCAL work_mem = '256MB'")
    driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    with driver.cursor(binary=True) as cursor:
        cursor.execute(_CELLS, {"first": days.first, "ids": list(ids), "days": sorted(complete)})
        found = cast("psycopg.pq.abc.PGresult", cursor.pgresult)
        for n in range(found.ntuples):
            yield int.from_bytes(found.get_value(n, 0) or b"", "big"), found.get_value(n, 1) or b""


def _known(values: Floats, null: int) -> Floats:
    result: Floats = values.astype(float)
    result[values == null] = np.nan
    return result
