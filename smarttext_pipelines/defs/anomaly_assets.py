"""``anomalies``: what is unusual among the rolled-up numbers of each day."""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
from sqlalchemy import Connection, text

from smarttext_pipelines.anomalies.episodes import episodes_of
from smarttext_pipelines.anomalies.in_words import Episode, sentence
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.defs.assets import FRESHNESS
from smarttext_pipelines.defs.metadata import column_schema, plot_metadata, table_metadata
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.schema.tables.anomaly_tables import anomalies as table

if TYPE_CHECKING:
    from smarttext_pipelines.anomalies.anomaly_store import Searched
    from smarttext_pipelines.rollup.preview import History

NAME, GROUP = "anomalies", "anomalies"
_SHOWN, _PLOTTED_DAYS = 20, 30
_HISTORY = text(
    """
    SELECT d.day, d.tested_count AS tested, count(a.id) AS found
    FROM monitoring.anomaly_days AS d LEFT JOIN monitoring.anomalies AS a ON a.day = d.day
    WHERE d.day BETWEEN :first AND :last GROUP BY d.day, d.tested_count
    """
)


def build_anomalies(partitions: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    """Return the asset."""

    @dg.asset(
        name=NAME,
        deps=["daily_stats", "sms_failure_rates"],
        group_name=GROUP,
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        description=table.comment,
        kinds={"postgres", "numpy"},
        owners=["team:data"],
        tags={"domain": "overview"},
        code_version="1",
        freshness_policy=FRESHNESS,
        retry_policy=dg.RetryPolicy(max_retries=2, delay=5),
        metadata={
            "dagster/column_schema": column_schema(table),
            "dagster/table_name": f"{table.schema}.{table.name}",
        },
    )
    def anomalies(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> Iterator[dg.MaterializeResult[None]]:
        # It brings numpy, which a code server needs only here.
        from smarttext_pipelines.anomalies.anomaly_store import search_days

        keys = context.partition_key_range
        days = DayRange(date.fromisoformat(keys.start), date.fromisoformat(keys.end))
        with warehouse.transaction() as connection:
            s = warehouse.settings
            done = search_days(connection, days, s.zone, s.anomaly_min_usd)
            for day in days:
                context.add_asset_metadata(_metadata(connection, day, done), partition_key=day.isoformat())
            history = _history(connection, days.last)
        context.add_asset_metadata({"plot": plot_metadata(NAME, history)}, partition_key=keys.end)
        context.log.info(_sentence(days, done))
        yield dg.MaterializeResult()

    return anomalies


def _sentence(days: DayRange, done: "Mapping[date, Searched]") -> str:
    found, tested = (sum(getattr(each, name) for each in done.values()) for name in ("found", "tested"))
    left = len(days) - len(done)
    rest = f"; {counted(left, 'day')} not rolled up after the end, so not searched" if left else ""
    return f"anomalies {days}: {found:,} of {tested:,} series were unusual{rest}"


def _metadata(connection: Connection, day: date, done: "Mapping[date, Searched]") -> dict[str, Any]:
    if day not in done:
        return {"searched": False}
    of_day = done[day]
    return {
        "searched": True,
        "series_tested": of_day.tested,
        "series_unusual": of_day.found,
        "expected_false": of_day.expected_false,
        "dagster/partition_row_count": of_day.found,
        "anomalies": table_metadata([_row(each) for each in episodes_of(connection, day, limit=_SHOWN)]),
    }


def _row(each: Episode) -> dict[str, object]:
    return {"anomaly": each.id, "whom": each.whom, "what": sentence(each), "since": str(each.first_day)}


def _history(connection: Connection, last: date) -> "History":
    from smarttext_pipelines.rollup.preview import History

    days = [last - timedelta(days=n) for n in reversed(range(_PLOTTED_DAYS))]
    found = {row.day: row for row in connection.execute(_HISTORY, {"first": days[0], "last": last})}
    return History(days, {"unusual series": [float(found[day].found) if day in found else None for day in days]})
