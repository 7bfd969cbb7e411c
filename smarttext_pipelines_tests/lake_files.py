"""Files as a cluster reads them: the live rows of each day of a table, projected as ``engines.live`` does."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Connection

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.engines.live import held_days, live_rows
from smarttext_pipelines.engines.spark_session import LakeFile
from smarttext_pipelines.metrics import Window
from smarttext_pipelines.metrics.event_tables import SOURCE_TIMES
from smarttext_pipelines.schema.tables.lookup import table_named
from smarttext_pipelines_tests.conftest import Database


@dataclass
class Lake:
    """Files of days by table; ``find`` is what an engine asks."""

    files: dict[str, list[LakeFile]] = field(default_factory=dict)

    def find(self, _connection: Connection, table: str, days: DayRange) -> Sequence[LakeFile]:
        return [file for file in self.files.get(table, ()) if file.day in days]

    def change(self, table: str, day: date, **said: Any) -> None:
        """Let the manifest say something else of a file."""
        self.files[table] = [replace(f, **said) if f.day == day else f for f in self.files[table]]


def write_lake(database: Database, folder: Path, days: DayRange) -> Lake:
    """Write what the database holds of days of the lake."""
    lake = Lake()
    with database.engine.connect() as connection:
        for table in SOURCE_TIMES:
            held = held_days(connection, table, days)
            rows = live_rows(connection, table_named(table), Window(days, ZoneInfo("UTC"), 30, datetime.now(UTC)))
            of_day = [_day(table, row) for row in rows.to_pylist()]
            for day, found in held.items():
                path = folder / f"{table}-{day}.parquet"
                pq.write_table(rows.filter(pa.array([each == day for each in of_day])), path)
                file = LakeFile(day, str(path), found.rows, found.newest_event_at)
                lake.files.setdefault(table, []).append(file)
    return lake


def _day(table: str, row: dict[str, Any]) -> date | None:
    dated, at = row.get("reset_date") if table == "api_usage" else None, row[SOURCE_TIMES[table]]
    return dated or (at and at.astimezone(UTC).date())
