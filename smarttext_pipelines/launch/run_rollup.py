"""Run the rollup job in this process, with the instance that the UI shows, and print the result."""

import os
import warnings
from typing import Any

import dagster as dg
from rich.console import Console
from rich.table import Table

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import SmartTextError
from smarttext_pipelines.definitions import build_definitions
from smarttext_pipelines.defs.assets import FACTS, STATS
from smarttext_pipelines.defs.partitions import range_tags
from smarttext_pipelines.defs.resources import Warehouse
from smarttext_pipelines.defs.run_failures import end_recovered_runs, report_failed_run
from smarttext_pipelines.launch.databases import child_environment, databases, prepare_dagster_home
from smarttext_pipelines.settings import Settings

_console = Console(highlight=False)


class RollupError(SmartTextError):
    """A rollup failed; the printed errors are the reason."""


def run_rollup(settings: Settings, days: DayRange, *, allow_empty: bool, verbose: bool = False) -> None:
    """Roll up the days and print a line per asset; the run's own log is in Dagster, here only with ``verbose``.

    Raises:
        RollupError: A step failed; its days are as they were.
    """
    with databases(settings, dagster=True) as ready, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Whatever can be said about the database is said before a run is recorded.
        Warehouse(ready).engine()
        os.environ.update(child_environment(ready, prepare_dagster_home(ready)))
        job = build_definitions(ready).resolve_job_def("rollup_job")
        level = "DEBUG" if verbose else "ERROR"
        config = {
            "ops": {name: {"config": {"allow_empty": allow_empty}} for name in (*FACTS, *STATS)},
            "loggers": {"console": {"config": {"log_level": level}}},
        }
        with dg.DagsterInstance.get() as instance, _console.status(f"rolling up {days}"):
            result = job.execute_in_process(
                instance=instance, tags=range_tags(days), run_config=config, raise_on_error=False
            )
            # No daemon may ever look at a run of the command line, nor end what an earlier one has reported.
            with Warehouse(ready).transaction() as connection:
                if not result.success:
                    report_failed_run(instance, result.dagster_run, connection)
                end_recovered_runs(instance, connection)
    _tell(result, days)


def _tell(result: Any, days: DayRange) -> None:
    failed = [event for event in result.all_events if event.is_step_failure]
    if failed:
        data = failed[0].step_failure_data
        said = data.user_failure_data.description if data.user_failure_data else data.error.message.splitlines()[0]
        msg = f"{failed[0].step_key}: {said} (run {result.run_id})"
        raise RollupError(msg)
    table = Table(title=f"rolled up {days}")
    for name in ("asset", "rows", "rows changed", "days kept"):
        table.add_column(name, overflow="fold")
    for name in (*FACTS, *STATS):
        seen = [
            event.materialization.metadata
            for event in result.all_events
            if event.is_step_materialization and event.asset_key.path[-1] == name
        ]
        columns = ("dagster/partition_row_count", "rows_changed", "kept_its_numbers")
        table.add_row(name, *(f"{sum(int(m[column].value) for m in seen):,}" for column in columns))
    _console.print(table)
