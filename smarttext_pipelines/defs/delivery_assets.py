"""Delivery reports in Dagster: an asset that asks Twilio what became of the texts, and its job."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from smarttext_pipelines.core.errors import SmartTextError
from smarttext_pipelines.defs.jobs import KIND_TAG, PRIORITY_TAG, UNFINISHED
from smarttext_pipelines.defs.metadata import column_schema
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.schema.tables.source_tables import sms_events
from smarttext_pipelines.settings import Settings

if TYPE_CHECKING:
    from twilio.rest import Client

DELIVERY_JOB = "delivery_report_job"
NO_CREDENTIALS = "TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN are not set: Twilio is not asked, and outcomes stay unknown"


def has_credentials(settings: Settings) -> bool:
    """Return whether Twilio can be asked."""
    return bool(settings.twilio_account_sid and settings.twilio_auth_token)


def twilio_client(settings: Settings) -> "Client | None":
    """Return a client; None without credentials."""
    if not (settings.twilio_account_sid and settings.twilio_auth_token):
        return None
    # The SDK is imported by the process that asks, not by every one that looks at the graph.
    from smarttext_pipelines.twilio.client import build_twilio_client

    return build_twilio_client(
        settings.twilio_account_sid.get_secret_value(),
        settings.twilio_auth_token.get_secret_value(),
        base_url=settings.twilio_base_url,
    )


@dg.asset(
    deps=["sms_events"],
    group_name="delivery",
    description="Outcomes and prices of texts as Twilio tells them, appended to sms_events and api_usage.",
    kinds={"postgres", "twilio"},
    owners=["team:data"],
    metadata={"dagster/column_schema": column_schema(sms_events), "dagster/table_name": "public.sms_events"},
)
def sms_delivery_reports(warehouse: dg.ResourceParam[Warehouse]) -> dg.MaterializeResult[None]:
    """Poll due messages, within the calls of one run."""
    settings = warehouse.settings
    client = twilio_client(settings)
    if client is None:
        return dg.MaterializeResult(metadata={"skipped": NO_CREDENTIALS})
    from smarttext_pipelines.twilio import fetch_reports

    try:
        done = fetch_reports(
            warehouse.engine(),
            client,
            now=datetime.now(UTC),
            shared_senders=[number.get_secret_value() for number in settings.shared_senders],
        )
    except SmartTextError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    return dg.MaterializeResult(metadata={**done.counts, "ended_early": done.ended_early or "no"})


delivery_report_job = dg.define_asset_job(
    DELIVERY_JOB,
    dg.AssetSelection.assets("sms_delivery_reports"),
    description="Asks Twilio what became of the texts whose outcome or price is not known.",
    tags={PRIORITY_TAG: "8", KIND_TAG: "delivery"},
)


def build_delivery_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """Return the schedule; it asks for a run only when a message is due."""

    @dg.schedule(
        job_name=DELIVERY_JOB,
        cron_schedule="*/15 * * * *",
        execution_timezone=settings.reporting_timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Asks Twilio for outcomes and prices that are not known, when there are any.",
    )
    def delivery_report_schedule(
        context: dg.ScheduleEvaluationContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.RunRequest | dg.SkipReason:
        if not has_credentials(settings):
            return dg.SkipReason(NO_CREDENTIALS)
        if context.instance.get_runs_count(dg.RunsFilter(job_name=DELIVERY_JOB, statuses=UNFINISHED)):
            return dg.SkipReason("the last run is not finished")
        # It loads Twilio's SDK, which not every process that looks at the graph needs.
        from smarttext_pipelines.twilio import count_waiting

        waiting = count_waiting(warehouse.engine(), datetime.now(UTC))
        return dg.RunRequest() if waiting else dg.SkipReason("no message is due to be asked for")

    return delivery_report_schedule
