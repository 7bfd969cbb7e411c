"""Rows of Python as an Arrow table, without pandas: for the small tables that statements read beside the events."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv


def small_table(columns: Mapping[str, pa.DataType], rows: Iterable[Sequence[Any]]) -> pa.Table:
    """Return rows as an Arrow table.

    ``pyarrow.array`` of a list imports pandas to ask whether it is one of its own: 0.4 s of each process that needs
    nothing else of it. So the rows are told as CSV.

    Args:
        columns: Types by name: texts, integers, decimals, booleans, dates, and instants in UTC.
        rows: A value for each column; None is NULL.
    """
    lines = [",".join(map(_told, row)) for row in rows]
    if not lines:
        return pa.Table.from_batches([], pa.schema(columns))
    return pacsv.read_csv(
        BytesIO("\n".join([*lines, ""]).encode()),
        pacsv.ReadOptions(column_names=list(columns), use_threads=False),
        pacsv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        pacsv.ConvertOptions(
            column_types=dict(columns), null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )


def _told(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str):
        escaped = value.replace('"', '""')
        return f'"{escaped}"'
    return str(value)
