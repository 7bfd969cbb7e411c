"""Daily partitions in the reporting zone; today is one of them, and partial."""

import dagster as dg

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.defs.dagster_internals import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG
from smarttext_pipelines.settings import Settings


def build_daily_partitions(settings: Settings) -> dg.DailyPartitionsDefinition:
    """Return one partition per reporting day from the first day to today."""
    return dg.DailyPartitionsDefinition(
        start_date=settings.start_date.isoformat(), timezone=settings.reporting_timezone, end_offset=1
    )


def range_tags(days: DayRange) -> dict[str, str]:
    """Return the run tags by which Dagster executes a range of partitions in one run."""
    return {
        ASSET_PARTITION_RANGE_START_TAG: days.first.isoformat(),
        ASSET_PARTITION_RANGE_END_TAG: days.last.isoformat(),
    }
