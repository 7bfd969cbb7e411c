"""A year of ten thousand rows a day in one backfill run, against the statements that compute it."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.definitions import build_definitions
from smarttext_pipelines.defs.partitions import range_tags
from smarttext_pipelines.metrics import METRICS, Window
from smarttext_pipelines.sample import SampleSpec, load_sample
from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines_tests.bench.instance import stored_instance
from smarttext_pipelines_tests.bench.tools import Line, seconds, stage_seconds
from smarttext_pipelines_tests.conftest import Server, fresh_database

ZONE = ZoneInfo("UTC")
FULL_DAYS, ROWS = 365, 10_000


def measure(server: Server, scale: float) -> list[Line]:
    """Return how much a run costs beyond its statements."""
    days = max(2, int(FULL_DAYS * scale))
    end = datetime(2026, 6, 30, 23, tzinfo=UTC)
    span = DayRange(end.date() - timedelta(days=days - 1), end.date())
    with fresh_database(server) as database, fresh_database(server) as storage:
        migrate(database.engine, ZONE)
        load_sample(database.url, SampleSpec(days, 200, ROWS, 7, end.date(), end))
        # As autovacuum leaves it: else whoever reads first pays for marking every row.
        database.run("VACUUM ANALYZE")
        run = _run_seconds(database.settings(), storage.plain_url, span)
        window = Window(days=span, zone=ZONE, settle_days=4, as_of=end)
        statements = sum(stage_seconds(database.engine, metric, window) for metric in METRICS.values())
    return [
        Line(f"statements of {days} days of {ROWS:,} rows", f"{statements:.1f} s"),
        Line("the run: planned, computed, asserted, merged, told", f"{run:.1f} s = {run / statements:.2f} ×", "2 ×"),
    ]


def _run_seconds(settings: object, storage_url: str, span: DayRange) -> float:
    job = build_definitions(settings).resolve_job_def("rollup_job")  # type: ignore[arg-type]
    with stored_instance(storage_url) as instance:
        return seconds(lambda: job.execute_in_process(instance=instance, tags=range_tags(span)))
