"""Put event sets where the engines read them: into PostgreSQL, and into Parquet files."""

import json
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Engine, insert, text

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.metrics import METRICS, Metric
from smarttext_pipelines.rollup import RolledUp, roll_up
from smarttext_pipelines.schema.tables import SOURCE_TABLES
from smarttext_pipelines.schema.tables.lookup import table_named

CUSTOMER_SECRET = b"a-secret-of-tests-alone"

Events = Mapping[str, Iterable[Mapping[str, Any]]]

EVERYTHING = ", ".join(
    [
        *(f"public.{t.name}" for t in SOURCE_TABLES),
        "public.daily_stats",
        *(f"monitoring.{name}" for name in METRICS if name != "daily_stats"),
        "monitoring.rollup_days",
    ]
)


def replace_events(engine: Engine, events: Events) -> None:
    """Empty every table and insert the events."""
    with engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {EVERYTHING} CASCADE"))
        insert_events(connection, events)


def insert_events(connection: Any, events: Events) -> None:
    for table in SOURCE_TABLES:
        rows = [dict(row) for row in events.get(table.name, ())]
        if rows:
            connection.execute(insert(table), rows)


def roll_up_all(
    engine: Engine, days: DayRange, *, zone: str = "UTC", metrics: Mapping[str, Metric] = METRICS, **options: Any
) -> dict[str, RolledUp]:
    """Roll metrics up, facts first."""
    options = {"zone": ZoneInfo(zone), "settle_days": 4, "customer_secret": CUSTOMER_SECRET, **options}
    with engine.begin() as connection:
        connection.execute(text("UPDATE monitoring.installation SET reporting_timezone = :zone"), {"zone": zone})
    return {name: roll_up(engine, metric, days, **options) for name, metric in metrics.items()}


def cells(engine: Engine, name: str, day: date | None = None) -> list[dict[str, Any]]:
    """Return the rows of a metric's table without ``id`` and ``updated_at``."""
    metric, table = METRICS[name], table_named(name)
    condition = f" WHERE {metric.day} = '{day}'" if day else ""
    with engine.connect() as connection:
        rows = connection.execute(text(f"SELECT * FROM {table.schema}.{table.name}{condition} ORDER BY id"))
        return [{k: v for k, v in row._mapping.items() if k not in ("id", "updated_at")} for row in rows]


def write_parquet(events: Events, folder: Path) -> dict[str, list[Path]]:
    """Write each table to a Parquet file of the archive's types: uuid and jsonb as text, numeric as decimal128."""
    files = {}
    for table in SOURCE_TABLES:
        rows = list(events.get(table.name, ()))
        columns = {c.name: pa.array([_plain(r.get(c.name)) for r in rows], _arrow(c.type)) for c in table.columns}
        files[table.name] = [folder / f"{table.name}.parquet"]
        pq.write_table(pa.table(columns), files[table.name][0])
    return files


def _plain(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value)
    return str(value) if type(value).__name__ == "UUID" else value


def _arrow(kind: Any) -> pa.DataType:
    names = {
        "Integer": pa.int32(),
        "BigInteger": pa.int64(),
        "Boolean": pa.bool_(),
        "Date": pa.date32(),
        "DateTime": pa.timestamp("us", tz="UTC"),
    }
    name = type(kind).__name__
    return pa.decimal128(kind.precision, kind.scale) if name == "Numeric" else names.get(name, pa.string())
