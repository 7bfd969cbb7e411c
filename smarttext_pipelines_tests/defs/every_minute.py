"""The graph as it is, but for its intraday schedule, which ticks every minute: what a daemon is given in a test."""

import dagster as dg

from smarttext_pipelines.definitions import build_definitions


@dg.definitions
def defs() -> dg.Definitions:
    definitions = build_definitions()
    for schedule in definitions.schedules or []:
        if schedule.name == "intraday_rollup_schedule":
            schedule._cron_schedule = "* * * * *"
    return definitions
