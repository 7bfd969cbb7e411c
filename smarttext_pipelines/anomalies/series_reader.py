"""Every business and the platform as series by day, read from ``daily_stats``, the only input of the model."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import reduce
from typing import Any, cast
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import psycopg
from numpy.typing import NDArray
from sqlalchemy import Connection

from smarttext_pipelines.anomalies.series_kinds import COLUMNS, SeriesKind
from smarttext_pipelines.anomalies.tails import Floats
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.rates import COVERAGE_FLOOR_PERCENT
from smarttext_pipelines.database.rolled_up_days import complete_days

Records = NDArray[np.void]
Places = NDArray[np.intp]

_COUNTS = tuple(name for name in COLUMNS if name not in ("openai_tokens_used", "openai_cost_estimate"))
_NULL, _WIDE_NULL = -(2**31), -(2**63)
_MILLION = 1_000_000
_NOBODY = UUID(int=2**128 - 1)
"""The greatest UUID, which RFC 9562 keeps from being anybody's: what belongs to no business is sorted last by it."""


def _packed() -> Iterator[str]:
    """Yield 64 bits each: two counts, the tokens, and the cost in millionths of a dollar, which its column counts in.

    A call of a function for each cell is what reading costs; so there are half as many.
    """
    cells = [f"coalesce({name}, {_NULL})" for name in _COUNTS]
    cells += ["0"] * (len(cells) % 2)
    for high, low in zip(cells[::2], cells[1::2], strict=True):
        yield f"({high}::bigint << 32) | ({low}::bigint & 4294967295)"
    yield f"coalesce(openai_tokens_used, {_WIDE_NULL})"
    yield f"coalesce((openai_cost_estimate * {_MILLION})::bigint, {_WIDE_NULL})"


_RECORD = np.dtype(
    [
        ("business_id", "V16"),
        *((name, ">i4") for name in _COUNTS),
        *([("", ">i4")] if len(_COUNTS) % 2 else []),
        ("openai_tokens_used", ">i8"),
        ("openai_cost_estimate", ">i8"),
    ]
)
"""A business and day as the server packs it."""

_CELLS = f"""
    SELECT
        date - CAST(%(first)s AS date),
        string_agg(
            uuid_send(coalesce(business_id, '{_NOBODY}')) || {" || ".join(f"int8send({each})" for each in _packed())},
            ''
        )
    FROM public.daily_stats
    WHERE date = ANY (CAST(%(days)s AS date[]))
    GROUP BY date
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
        whole = self._total(kind.whole)
        is_unknown = np.isnan(part + whole)
        if kind.unknown:
            is_unknown |= ~(whole * 100 >= (whole + self._total(kind.unknown)) * float(COVERAGE_FLOOR_PERCENT))
        return np.where(is_unknown, np.nan, part), np.where(is_unknown, np.nan, whole)

    def _total(self, names: Sequence[str]) -> Floats:
        return reduce(np.add, (self.cells[name] for name in names))


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
    found = _read(connection, days, complete)
    ids, places = _places(found.values())
    unknown = [row for row, day in enumerate(days) if day not in complete]
    cells = dict(zip(COLUMNS, np.zeros((len(COLUMNS), len(days), len(ids) + 1)), strict=True))
    for (row, records), at in zip(found.items(), places, strict=True):
        for name, matrix in cells.items():
            values = records[name].astype(float)
            values[values == (_NULL if name in _COUNTS else _WIDE_NULL)] = np.nan
            matrix[row][at] = values
    cells["openai_cost_estimate"] /= _MILLION
    for matrix in cells.values():
        # What belongs to no business was put in the platform's place.
        matrix[:, -1] = matrix.sum(axis=1)
        matrix[unknown] = np.nan
    return Series(days, ids, cells)


def _read(connection: Connection, days: DayRange, complete: set[date]) -> dict[int, Records]:
    """Return by row the records of a day as PostgreSQL sends them: lists of Python would take seconds."""
    # Sorting all cells on disk would take as long as reading them.
    connection.exec_driver_sql("SET LOCAL work_mem = '256MB'")
    driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    with driver.cursor() as cursor:
        # One after the other: together they would be held twice.
        found = cursor.stream(_CELLS, {"first": days.first, "days": sorted(complete)}, binary=True)
        return {row: np.frombuffer(packed, _RECORD) for row, packed in found}


def _places(found: Collection[Records]) -> tuple[tuple[UUID, ...], list[Places]]:
    """Return the businesses in order, and for each day the places of its records; nobody's is the last.

    A join in the server takes four times as long, as does a dictionary of Python.
    """
    import pyarrow as pa

    every: Any = np.concatenate([np.empty(0, _RECORD["business_id"]), *(records["business_id"] for records in found)])
    buffers = [None, pa.py_buffer(every)]
    encoded: Any = pa.Array.from_buffers(pa.binary(every.itemsize), len(every), buffers).dictionary_encode()
    # Arrow's own lists and arrays would import pandas.
    seen = np.frombuffer(encoded.dictionary.buffers()[1], every.dtype, len(encoded.dictionary)).tolist()
    ids = sorted({*seen} - {_NOBODY.bytes})
    place = {each: n for n, each in enumerate([*ids, _NOBODY.bytes])}
    codes = np.frombuffer(encoded.indices.buffers()[1], np.int32, len(every))
    places = np.array([place[each] for each in seen], np.intp)[codes]
    ends = np.cumsum([len(records) for records in found])
    # To split at nothing would give a part where there is no day.
    of_days = np.split(places, ends[:-1]) if len(found) else []
    return tuple(UUID(bytes=each) for each in ids), of_days
