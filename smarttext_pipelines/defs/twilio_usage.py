"""Twilio's bill and ours in Dagster: an asset of the newest priced week, its checks, its job and its schedule."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from smarttext_pipelines.core.errors import SmartTextError
from smarttext_pipelines.defs.delivery_assets import NO_CREDENTIALS, has_credentials, twilio_client
from smarttext_pipelines.defs.evaluations import Check, checked, evaluation, record, spec
from smarttext_pipelines.defs.jobs import KIND_TAG, PRIORITY_TAG
from smarttext_pipelines.defs.metadata import table_metadata
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.settings import Settings

if TYPE_CHECKING:
    from smarttext_pipelines.twilio import UsageDay

USAGE_JOB = "twilio_usage_job"
MAX_CALLS = 20

_TEXTS, _COST = "texts_explained", "cost_explained"
_CHECKS = {
    _TEXTS: Check(
        "At most 5 % of a day's texts (or 10) that Twilio sent or received were recorded by nobody.",
        "Another application uses the account, or a writer drops rows; below zero, texts went over another account. "
        "Compare the list with the messages of the day in Twilio's console.",
    ),
    _COST: Check(
        "At most 5 % of what Twilio charges for a day's texts (or 1 USD) has no recorded price.",
        "Prices are asked for by sms_delivery_reports: see that its runs succeed. The list has the texts without one.",
    ),
}
_COLUMNS = {
    "day": ("date", "Day in GMT, which is Twilio's."),
    "texts": ("bigint", "Texts sent, as Twilio counts them, and what nobody recorded of them."),
    "received": ("bigint", "Texts received, as Twilio counts them, and what nobody recorded of them."),
    "usd": ("numeric", "What Twilio charges for the texts sent, carriers' fees included, and what no price explains."),
}


@dg.asset(
    deps=["sms_delivery_reports", "api_usage", "call_events"],
    group_name="delivery",
    description="Twilio's own count and bill of the newest week whose prices are known, and our records.",
    kinds={"twilio"},
    owners=["team:data"],
    check_specs=[spec("twilio_usage", name, check) for name, check in _CHECKS.items()],
    metadata={
        "dagster/column_schema": dg.TableSchema(
            columns=[dg.TableColumn(name, kind, description=said) for name, (kind, said) in _COLUMNS.items()]
        )
    },
)
def twilio_usage(
    context: dg.AssetExecutionContext,
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
    """Ask for Twilio's usage records and compare."""
    client = twilio_client(warehouse.settings)
    if client is None:
        raise dg.Failure(NO_CREDENTIALS, allow_retries=False)
    from smarttext_pipelines.twilio import compare_usage, cost_finding, days_to_compare, texts_finding
    from smarttext_pipelines.twilio.poll import Asker

    asker = Asker(client, max_calls=MAX_CALLS, sleep=time.sleep)
    try:
        days = compare_usage(warehouse.engine(), asker, days_to_compare(datetime.now(UTC)))
    except SmartTextError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    found = ((_TEXTS, texts_finding(days)), (_COST, cost_finding(days)))
    seen = [checked(name, _CHECKS[name], finding) for name, finding in found]
    record(warehouse, "twilio_usage", seen, context.run.run_id)
    for name, finding in found:
        yield evaluation("twilio_usage", name, _CHECKS[name], finding)
    left = [each.unexplained_usd for each in days]
    yield dg.MaterializeResult(
        metadata={
            "days": table_metadata([_row(each) for each in days]),
            "unexplained_texts": sum(each.unexplained_texts for each in days),
            "unexplained_usd": "unknown, the account pays in another currency"
            if None in left
            else float(sum(usd for usd in left if usd is not None)),
        }
    )


def _row(each: "UsageDay") -> dict[str, object]:
    return {
        "day (GMT)": each.day,
        "Twilio sent": each.twilio_texts,
        "recorded": each.our_texts,
        "our alerts": each.alert_texts,
        "left": each.unexplained_texts,
        "Twilio received": each.twilio_inbound,
        "recorded ": each.our_inbound,
        "left ": each.unexplained_inbound,
        "Twilio USD": "unknown" if each.twilio_usd is None else each.twilio_usd,
        "prices": each.our_usd,
        "without a price": each.unpriced_texts,
        "left USD": "unknown" if each.unexplained_usd is None else each.unexplained_usd,
    }


twilio_usage_job = dg.define_asset_job(
    USAGE_JOB,
    dg.AssetSelection.assets("twilio_usage"),
    description="Compares Twilio's usage records with what was recorded.",
    tags={PRIORITY_TAG: "1", KIND_TAG: "delivery"},
)


def build_usage_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """Return the schedule; without credentials it asks for nothing."""

    @dg.schedule(
        job_name=USAGE_JOB,
        cron_schedule="40 3 * * *",
        execution_timezone=settings.reporting_timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Compares Twilio's bill with ours.",
    )
    def twilio_usage_schedule() -> dg.RunRequest | dg.SkipReason:
        return dg.RunRequest() if has_credentials(settings) else dg.SkipReason(NO_CREDENTIALS)

    return twilio_usage_schedule
