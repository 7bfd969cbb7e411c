"""OpenAI's bill and ours in Dagster: an asset of the newest days, its checks, its job and its schedule."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from smarttext_pipelines.core.errors import SmartTextError
from smarttext_pipelines.defs.evaluations import Check, checked, evaluation, record, spec
from smarttext_pipelines.defs.jobs import KIND_TAG, PRIORITY_TAG
from smarttext_pipelines.defs.metadata import column_schema, table_metadata
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.schema.tables.openai_cost_tables import openai_costs as table
from smarttext_pipelines.settings import Settings

if TYPE_CHECKING:
    from smarttext_pipelines.billing import BilledDay

NAME, COSTS_JOB = "openai_costs", "openai_costs_job"
NO_KEY = "OPENAI_ADMIN_KEY is not set: OpenAI is not asked for its costs, and what it charges stays unknown"

_COST, _COMPLETE = "cost_explained", "days_complete"
_CHECKS = {
    _COST: Check(
        "At most 5 % of what OpenAI charges for a day (or 1 USD) was recorded by nobody.",
        "Another application uses the organisation, or a writer drops rows; below zero, calls went to another "
        "organisation or their prices are too high. The list has OpenAI's line items beside the recorded models.",
    ),
    _COMPLETE: Check(
        "OpenAI told its costs of each day that ended two to eight days ago.",
        "It is late, or the key is that of another organisation: see https://status.openai.com and OPENAI_ADMIN_KEY. "
        "A day is asked for again for a week.",
    ),
}


@dg.asset(
    name=NAME,
    deps=["api_usage"],
    group_name="delivery",
    description="What OpenAI charges for the newest days that it tells (UTC), and our records.",
    kinds={"postgres", "openai"},
    owners=["team:data"],
    check_specs=[spec(NAME, name, check) for name, check in _CHECKS.items()],
    metadata={"dagster/column_schema": column_schema(table), "dagster/table_name": f"{table.schema}.{table.name}"},
)
def openai_costs(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
    """Ask for the costs of the days that are due, and compare."""
    settings = warehouse.settings
    if settings.openai_admin_key is None:
        raise dg.Failure(NO_KEY, allow_retries=False)
    from smarttext_pipelines.billing import ask_costs, compared_days, complete_finding, cost_finding, read_billed, total
    from smarttext_pipelines.billing.costs_client import CostsClient

    now = datetime.now(UTC)
    client = CostsClient(settings.openai_admin_key.get_secret_value(), base_url=settings.openai_base_url)
    try:
        asked = ask_costs(warehouse.engine(), client, now, settings.retention_days)
    except SmartTextError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    with warehouse.transaction() as connection:
        days = read_billed(connection, compared_days(now))
    found = ((_COST, cost_finding(days)), (_COMPLETE, complete_finding(days)))
    record(warehouse, NAME, [checked(name, _CHECKS[name], finding) for name, finding in found], context.run.run_id)
    for name, finding in found:
        yield evaluation(NAME, name, _CHECKS[name], finding)
    left = [each.unexplained_usd for each in days]
    yield dg.MaterializeResult(
        metadata={
            "days": table_metadata([_row(each) for each in days]),
            "days_asked_for": len(asked),
            "calls": client.calls,
            "days_unknown": left.count(None),
            "unexplained_usd": f"{total(usd for usd in left if usd is not None):,.2f}",
        }
    )


def _row(each: "BilledDay") -> dict[str, object]:
    return {
        "day (UTC)": each.day,
        "OpenAI USD": _known(each.billed_usd),
        "recorded": _known(each.recorded_usd),
        "left USD": _known(each.unexplained_usd),
        "without a price": each.unpriced_requests,
        "other currencies": each.other_currencies or "none",
        "asked": each.asked_at,
    }


def _known(value: object) -> object:
    return "unknown" if value is None else value


openai_costs_job = dg.define_asset_job(
    COSTS_JOB,
    dg.AssetSelection.assets(NAME),
    description="Compares OpenAI's costs with what was recorded.",
    tags={PRIORITY_TAG: "1", KIND_TAG: "delivery"},
)


def build_costs_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """Return the schedule; without a key it asks for nothing."""

    @dg.schedule(
        job_name=COSTS_JOB,
        cron_schedule="50 3 * * *",
        execution_timezone=settings.reporting_timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Compares OpenAI's bill with ours.",
    )
    def openai_costs_schedule() -> dg.RunRequest | dg.SkipReason:
        return dg.RunRequest() if settings.openai_admin_key else dg.SkipReason(NO_KEY)

    return openai_costs_schedule
