"""The event lake as an engine of files asks for it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.engines.spark_session import LakeFile
from smarttext_pipelines.lake.current_files import lake_files_of, lake_rows_of
from smarttext_pipelines.lake.export import export_days
from smarttext_pipelines.lake.lake_day import Places
from smarttext_pipelines.lake.lake_target import LakeTarget
from smarttext_pipelines.metrics.event_tables import SOURCE_TIMES
from smarttext_pipelines_tests.conftest import Database


@dataclass
class Lake:
    """Files of days by table; ``find`` gives those of them that hold what there is now."""

    place: str
    files: dict[str, Sequence[LakeFile]] = field(default_factory=dict)

    def find(self, connection: Connection, table: str, days: DayRange) -> Sequence[LakeFile]:
        return [file for file in self.current(connection, table, days) if file in self.files.get(table, ())]

    def current(self, connection: Connection, table: str, days: DayRange) -> Sequence[LakeFile]:
        found = lake_files_of(connection, table, days, place=self.place)
        rows = lake_rows_of(connection, table, [day for day, _ in found])
        return [LakeFile(day, url, rows[day]) for day, url in found]


def write_lake(database: Database, folder: Path, days: DayRange) -> Lake:
    """Write what the database holds of days of the lake."""
    assert not [
        each for each in export_days(database.engine, Places(LakeTarget(str(folder)), None), days) if each.failure
    ]
    lake = Lake(str(folder))
    with database.engine.connect() as connection:
        for table in SOURCE_TIMES:
            lake.files[table] = lake.current(connection, table, days)
    return lake
