"""Exporting a large day into the lake against COPY of the same rows; a range read from the lake against PostgreSQL."""

import tempfile
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from smarttext_pipelines.archive.session import locked_day
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.engines import EngineChoice, Parameters
from smarttext_pipelines.lake.export import export_days
from smarttext_pipelines.lake.lake_columns import select_rows
from smarttext_pipelines.lake.lake_day import Places, write_lake_day
from smarttext_pipelines.lake.lake_days import days_within
from smarttext_pipelines.lake.lake_target import LakeTarget
from smarttext_pipelines.metrics import METRICS, Window
from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines_tests.bench.archive import _BUSINESSES, _FILL, DAY, TABLE
from smarttext_pipelines_tests.bench.tools import Line, alternate, seconds, stage_seconds
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database

DAYS = 12
AS_OF = datetime.combine(DAY + timedelta(days=60), datetime.min.time(), ZoneInfo("UTC"))


def measure(server: Server, scale: float) -> list[Line]:
    """Return the ratio of an export to COPY, and that of a range from the lake to the same range in PostgreSQL."""
    rows = max(10_000, int(1_000_000 * scale))
    with fresh_database(server) as database, tempfile.TemporaryDirectory(prefix="smarttext-bench-") as folder:
        migrate(database.engine, ZoneInfo("UTC"))
        database.run(_BUSINESSES)
        database.run(_FILL, f"{DAY} 00:00:00+00", rows, rows)
        for n in range(1, DAYS):
            database.run(_FILL, f"{DAY + timedelta(days=n)} 00:00:00+00", rows // 8, rows // 8)
        database.run("VACUUM ANALYZE public.sms_events")
        places = Places(LakeTarget(folder), None)
        copy_all, copy, export = alternate(
            lambda: _copy(database, f"SELECT * FROM public.{TABLE} WHERE created_at < '{DAY + timedelta(days=1)}'"),
            lambda: _copy(database, select_rows(TABLE, days_within(TABLE, DayRange(DAY, DAY)))),
            lambda: _export(database, places),
            runs=7,
        )
        days = DayRange(DAY + timedelta(days=1), DAY + timedelta(days=DAYS - 1))
        export_days(database.engine, places, days)
        window = Window(days, ZoneInfo("UTC"), 4, AS_OF)
        metric = METRICS["sms_outcomes"]
        postgres, lake = alternate(
            lambda: stage_seconds(database.engine, metric, window), lambda: _from_lake(database, places, window)
        )
    return [
        Line(
            f"{rows:,} rows into the lake, against COPY of all columns", f"{copy_all / export:.2f} of its rows/s", "0.5"
        ),
        Line("the same against COPY of the same columns", f"{copy / export:.2f} of its rows/s", "0.5"),
        Line(f"{len(days)} days of {rows // 8:,} rows from the lake, against PostgreSQL", f"{lake / postgres:.2f} x"),
    ]


def _copy(database: Database, query: str) -> float:
    return seconds(lambda: database.run(f"COPY ({query}) TO '/dev/null' (FORMAT binary)"))


def _export(database: Database, places: Places, day: date = DAY) -> float:
    with locked_day(database.engine, TABLE, day) as connection:
        return seconds(lambda: write_lake_day(connection, places, TABLE, day))


def _from_lake(database: Database, places: Places, window: Window) -> float:
    metric = METRICS["sms_outcomes"]

    def run() -> None:
        with connected(database.engine, isolation="REPEATABLE READ") as connection, connection.begin():
            choice = EngineChoice(connection, Parameters(window), None, places.lake)
            with choice.engine_for(metric.inputs) as engine:
                engine.stage(metric.rows(engine.tables, window), "computed")

    return seconds(run)
