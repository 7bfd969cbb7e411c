"""Facts and stats: one asset per metric. An asset rolls its days up, then reports what it saw."""

from collections.abc import Iterator
from datetime import date, timedelta

import dagster as dg

from smarttext_pipelines.core.days import DayRange, day_end
from smarttext_pipelines.core.errors import AgreementError, DatabaseError, EngineError, SmartTextError
from smarttext_pipelines.defs.checks import agreement_failed, check_results, check_specs, checked_days, failed_days
from smarttext_pipelines.defs.evaluations import record
from smarttext_pipelines.defs.headlines import sentence
from smarttext_pipelines.defs.metadata import column_schema, day_metadata, month_metadata, observation, plot_metadata
from smarttext_pipelines.defs.resources import FactsOfARun, Warehouse
from smarttext_pipelines.schema.tables.lookup import table_named

FACTS: dict[str, tuple[str, ...]] = {
    "sms_outcomes": ("sms_events", "owner_alerts", "businesses"),
    "spend": ("api_usage",),
    "call_volume": ("call_events", "businesses"),
    "missed_call_replies": ("call_events", "sms_events", "owner_alerts", "businesses"),
    "owner_alert_delivery": ("owner_alerts",),
    "customer_days": ("call_events", "sms_events", "api_usage", "owner_alerts", "businesses"),
}
"""Facts and the tables they are computed from."""

COMPARED_WITH = {"customer_days": ("sms_outcomes", "call_volume", "missed_call_replies", "spend")}
"""Facts that a check compares another with, and which are computed before it."""

STATS: dict[str, tuple[str, ...]] = {
    "sms_failure_rates": ("sms_outcomes",),
    "daily_stats": ("sms_outcomes", "spend", "call_volume", "owner_alert_delivery", "missed_call_replies"),
}
"""What people read, and the facts it is derived from."""


DOMAINS = {
    "sms_outcomes": "texts",
    "spend": "money",
    "call_volume": "calls",
    "missed_call_replies": "calls",
    "owner_alert_delivery": "owner-alerts",
    "customer_days": "customers",
    "sms_failure_rates": "texts",
    "daily_stats": "overview",
}
"""What an asset is about: a tag to filter by."""

VERSIONS = {"sms_outcomes": "2", "missed_call_replies": "2", "sms_failure_rates": "2", "daily_stats": "2"}
"""Raised whenever the numbers of a day may come out differently; days of an older version are marked in the UI."""

FRESHNESS = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=36), warn_window=timedelta(hours=26))
"""The nightly run comes every 24 hours; two that did not come are a failure."""


class RollupConfig(dg.Config):
    """What a person may change when he launches a rollup.

    Attributes:
        allow_empty: Write what is there even where events have gone since the last rollup.
    """

    allow_empty: bool = False


@dg.resource(description="What the facts of a run read together; it ends with the run.")
def facts_of_a_run(context: dg.InitResourceContext) -> Iterator[FactsOfARun]:
    """Give the facts of one run, whose processes are one, the same reading."""
    chosen = context.run.asset_selection if context.run else None
    found = FactsOfARun([name for name in FACTS if not chosen or dg.AssetKey(name) in chosen])
    try:
        yield found
    finally:
        found.close()


def build_assets(partitions: dg.DailyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Return the assets of both stages."""
    stages = (("facts", FACTS), ("stats", STATS))
    return [_build(name, deps, group, partitions) for group, stage in stages for name, deps in stage.items()]


def _build(
    name: str, deps: tuple[str, ...], group: str, partitions: dg.DailyPartitionsDefinition
) -> dg.AssetsDefinition:
    table = table_named(name)

    @dg.asset(
        name=name,
        deps=[*deps, *COMPARED_WITH.get(name, ())],
        group_name=group,
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=check_specs(name),
        description=table.comment,
        kinds={"postgres", "ibis"},
        owners=["team:data"],
        tags={"domain": DOMAINS[name]},
        code_version=VERSIONS.get(name, "1"),
        freshness_policy=FRESHNESS,
        retry_policy=dg.RetryPolicy(max_retries=2, delay=5),
        metadata={
            "dagster/column_schema": column_schema(table),
            "dagster/table_name": f"{table.schema}.{table.name}",
        },
    )
    def asset(
        context: dg.AssetExecutionContext,
        config: RollupConfig,
        warehouse: dg.ResourceParam[Warehouse],
        facts_of_a_run: dg.ResourceParam[FactsOfARun],
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
        keys = context.partition_key_range
        days = DayRange(date.fromisoformat(keys.start), date.fromisoformat(keys.end))
        try:
            result = warehouse.roll_up(name, days, allow_empty=config.allow_empty, shared=facts_of_a_run.shared())
        except SmartTextError as error:
            if isinstance(error, AgreementError):
                record(warehouse, name, failed_days(error, days), context.run.run_id)
                yield agreement_failed(name, error, days)
            # A database may answer the next time; a missing column or a wrong setting will not mend itself.
            raise dg.Failure(str(error), allow_retries=type(error) in (DatabaseError, EngineError)) from None
        context.log.info(sentence(result))
        report = warehouse.report(result)
        for day in days:
            context.add_asset_metadata(day_metadata(result, day, report.preview), partition_key=day.isoformat())
        if report.month:
            context.add_asset_metadata(month_metadata(report.month), partition_key=keys.end)
        # Today is refreshed every ten minutes; a picture each time would fill Dagster's storage.
        if result.as_of >= day_end(days.last, warehouse.settings.zone):
            context.add_asset_metadata({"plot": plot_metadata(name, report.history)}, partition_key=keys.end)
        for observed in report.sources:
            context.log_event(observation(observed))
        zone, settle_days = warehouse.settings.zone, warehouse.settings.settle_days
        record(warehouse, name, checked_days(result, report, zone, settle_days), context.run.run_id)
        yield from check_results(name, result, report)
        yield dg.MaterializeResult()

    return asset
