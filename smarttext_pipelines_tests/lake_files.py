"""Files as a cluster reads them: the live rows of each day of a table, projected as ``engines.live`` does."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Connection

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.engines import SourceDay
from smarttext_pipelines.engines.live import held_days, live_rows
from smarttext_pipelines.engines.spark_session import LakeFile
from smarttext_pipelines.metrics import Window
from smarttext_pipelines.metrics.event_tables import SOURCE_TIMES
from smarttext_pipelines.schema.tables.lookup import table_named
from smarttext_pipelines_tests.conftest import Database

_UNREAD = ("payload", "error_message", "message_content", "owner_phone", "customer_phone")


@dataclass
class Lake:
    """Files of days by table, and what the database held of them; ``find`` is what an engine asks."""

    files: dict[str, list[LakeFile]] = field(default_factory=dict)
    held: dict[tuple[str, date], SourceDay] = field(default_factory=dict)

    def find(self, connection: Connection, table: str, days: DayRange) -> Sequence[LakeFile]:
        """Return the files of days of which the database holds what it held, or nothing: then they are archived."""
        now = held_days(connection, table, days)
        files = [file for file in self.files.get(table, ()) if file.day in days]
        return [file for file in files if now.get(file.day) in (None, self.held[table, file.day])]


def write_lake(database: Database, folder: Path, days: DayRange) -> Lake:
    """Write what the database holds of days of the lake."""
    lake = Lake()
    with database.engine.connect() as connection:
        for table in SOURCE_TIMES:
            held = held_days(connection, table, days)
            rows = live_rows(connection, table_named(table), Window(days, ZoneInfo("UTC"), 30, datetime.now(UTC)))
            of_day = [_day(table, row) for row in rows.to_pylist()]
            for day, found in held.items():
                path = folder / table / f"day={day}" / f"{uuid4()}.parquet"
                path.parent.mkdir(parents=True, exist_ok=True)
                pq.write_table(_wide(rows.filter(pa.array([each == day for each in of_day]))), path)
                lake.files.setdefault(table, []).append(LakeFile(day, str(path), found.rows))
                lake.held[table, day] = found
    return lake


def _wide(rows: pa.Table) -> pa.Table:
    """Return rows with integers of 64 bits and without what no metric reads, as files of the lake have them."""
    kinds = [(f.name, pa.int64() if pa.types.is_integer(f.type) else f.type) for f in rows.schema]
    named = [(name, kind) for name, kind in kinds if name not in _UNREAD]
    return rows.select([name for name, _ in named]).cast(pa.schema(named))


def _day(table: str, row: dict[str, Any]) -> date | None:
    dated, at = row.get("reset_date") if table == "api_usage" else None, row[SOURCE_TIMES[table]]
    return dated or (at and at.astimezone(UTC).date())
