"""What Prometheus scrapes: today's numbers as ``stats`` has them, the pipeline's state, and no telephone number.

Counters are of the reporting day that is going on: they never fall but at its beginning, which is
``smarttext_day_start_timestamp_seconds``. What is unknown is absent, never 0. The database is read at most every
15 seconds, however often it is scraped.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from sqlalchemy import Connection, Engine, text

from smarttext_pipelines.budgets.ledger import BudgetUse, read_budgets
from smarttext_pipelines.core.days import day_of, day_start
from smarttext_pipelines.core.errors import DatabaseError
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.digest.facts import read_refusals
from smarttext_pipelines.digest.totals import Totals, read_totals
from smarttext_pipelines.settings import Settings

MIN_SECONDS = 15.0
"""How old an answer may be before the database is read again."""

_STATE = text(
    """
    SELECT 'incidents' AS name, severity AS label, count(*)::bigint AS value FROM monitoring.incidents
    WHERE state IN ('firing', 'recovering') GROUP BY severity
    UNION ALL SELECT 'notifications', status, count(*)::bigint FROM monitoring.notifications
    WHERE created_at >= :start GROUP BY status
    UNION ALL SELECT 'last_success', kind || ':' || name, extract(epoch FROM last_success_at)::bigint
    FROM monitoring.heartbeats WHERE last_success_at IS NOT NULL
    UNION ALL SELECT 'newest', key, extract(epoch FROM CAST(value AS timestamptz))::bigint
    FROM monitoring.live_today, jsonb_each_text(numbers -> 'newest') WHERE day = :day AND value IS NOT NULL
    """
)
_SPEND = text(
    "SELECT coalesce(service, '') AS service, sum(cost_usd) AS usd FROM monitoring.spend WHERE day = :day GROUP BY 1"
)
_SEES_WRITERS = text("SELECT has_table_privilege('monitoring.tracking_writers', 'SELECT')")
_LOST = text("SELECT coalesce(sum(dropped), 0)::bigint FROM monitoring.tracking_writers")
_CLASSES = text(
    """
    SELECT status_class AS class, sum(message_count)::bigint AS texts FROM monitoring.sms_outcomes
    WHERE day = :day GROUP BY status_class
    """
)
Values = Mapping[Any, Any]
"""By the values of its labels; None is unknown, and is left out."""

_SEVERITIES = ("info", "warning", "critical")


class DatabaseCollector(Collector):
    """Reads the database when it is scraped, at most every ``MIN_SECONDS``."""

    def __init__(
        self, engine: Engine, settings: Settings, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Begin with nothing read.

        Args:
            engine: Of the event database; a role that reads is enough.
            settings: Zone, and how many businesses have series of their own.
            clock: Time of reading.
        """
        self._engine, self._settings, self._clock = engine, settings, clock
        self._lock = threading.Lock()
        self._read_at = -MIN_SECONDS
        self._found: list[Metric] = []
        self.reads = 0

    def describe(self) -> Iterable[Metric]:
        """Return nothing: registering reads no database."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return the metrics; while the database is away only that it is."""
        with self._lock:
            if time.monotonic() - self._read_at >= MIN_SECONDS:
                self._found = list(self._read())
                self._read_at = time.monotonic()
            return list(self._found)

    def _read(self) -> Iterator[Metric]:
        self.reads += 1
        yield InfoMetricFamily("smarttext_build", "Version.", {"version": version("smarttext-pipelines")})
        is_up = GaugeMetricFamily("smarttext_database_up", "Whether the event database answered.")
        try:
            with connected(self._engine) as connection, connection.begin():
                found = list(_metrics(connection, self._settings, self._clock()))
        except DatabaseError:
            found = []
        is_up.add_metric([], float(bool(found)))
        yield is_up
        yield from found


def exposition(collector: Collector, accept: str) -> tuple[bytes, str]:
    """Return what is answered to a scrape, in the format that the client accepts, and its content type."""
    registry = CollectorRegistry()
    registry.register(collector)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _metrics(connection: Connection, settings: Settings, now: datetime) -> Iterator[Metric]:
    day = day_of(now, settings.zone)
    start = day_start(day, settings.zone)
    values: dict[str, Any] = {"day": day, "start": start}
    began = "smarttext_day_start_timestamp_seconds"
    yield _gauge(began, "Begin of the reporting day that counters are of.", {(): start.timestamp()})
    totals = read_totals(connection, [day]).get(day)
    if totals is not None:
        yield from _of_today(connection, totals, values)
    refused = read_refusals(connection, day)
    yield _counter("smarttext_guard_refusals", "OpenAI requests that the guard refused today.", ("reason",),
                   {(reason,): count for reason, count in refused.items()})  # fmt: skip
    yield from _budgets(read_budgets(connection), settings.metrics_businesses)
    yield from _state(connection, values)
    if connection.execute(_SEES_WRITERS).scalar():
        lost = connection.execute(_LOST).scalar()
        yield _counter("smarttext_tracking_dropped", "Events that tracking writers lost.", (), {(): lost})


def _of_today(connection: Connection, totals: Totals, values: dict[str, Any]) -> Iterator[Metric]:
    classes = {(row["class"],): row["texts"] for row in connection.execute(_CLASSES, values).mappings()}
    yield _counter("smarttext_messages", "Texts attempted today, by outcome.", ("class",), classes)
    replies = {(name,): getattr(totals, name) for name in ("in_time", "late", "never", "unknown")}
    yield _counter("smarttext_missed_calls", "Missed calls of today, by answer.", ("reply",), replies)
    yield _gauge(
        "smarttext_sms_failure_ratio", "Share of the decided texts that failed.", _share(totals.failed_percent)
    )
    yield _gauge("smarttext_outcome_coverage_ratio", "Share of outcomes that are known.", _share(totals.known_percent))
    yield _counter("smarttext_openai_tokens", "OpenAI tokens of today.", (), {(): totals.tokens})
    spend = {(row["service"],): row["usd"] for row in connection.execute(_SPEND, values).mappings()}
    yield _counter("smarttext_spend_usd", "Recorded cost of today in USD.", ("service",), spend)


def _budgets(found: Iterable[BudgetUse], most: int) -> Iterator[Metric]:
    used = [(str(use.business_id or "none"), use.percent) for use in found if use.percent is not None]
    ratios = [(business, percent / 100) for business, percent in used if percent is not None]
    highest = {(): max(ratio for _, ratio in ratios)} if ratios else {}
    yield _gauge("smarttext_budget_used_ratio_max", "Use of the OpenAI budget that is used most.", highest)
    if most:
        # The most used first, as they are read; the rest has one series.
        shown = {(business,): ratio for business, ratio in ratios[:most]}
        rest = {("other",): max(ratio for _, ratio in ratios[most:])} if ratios[most:] else {}
        name, said = "smarttext_budget_used_ratio", "Use of OpenAI budgets; other is the highest of the rest."
        yield _gauge(name, said, {**shown, **rest}, ("business",))


def _state(connection: Connection, values: dict[str, Any]) -> Iterator[Metric]:
    rows: dict[str, dict[Any, Any]] = {name: {} for name in ("notifications", "last_success", "newest")}
    rows["incidents"] = {(severity,): 0 for severity in _SEVERITIES}
    for row in connection.execute(_STATE, values):
        if row.name in rows:
            rows[row.name][row.label,] = row.value
    jobs = "smarttext_last_success_timestamp_seconds"
    newest = "smarttext_source_newest_event_timestamp_seconds"
    yield _gauge("smarttext_incidents", "Open incidents.", rows["incidents"], ("severity",))
    yield _gauge("smarttext_notifications", "Notifications of today by status.", rows["notifications"], ("status",))
    yield _gauge(jobs, "Last success of each part of the pipeline.", rows["last_success"], ("job_name",))
    yield _gauge(newest, "Newest row of each source, as sampled.", rows["newest"], ("source",))


def _share(percent: Any) -> Values:
    return {(): None if percent is None else percent / 100}


def _gauge(name: str, said: str, found: Values, labels: tuple[str, ...] = ()) -> Metric:
    return _filled(GaugeMetricFamily(name, said, labels=labels), found)


def _counter(name: str, said: str, labels: tuple[str, ...], found: Values) -> Metric:
    return _filled(CounterMetricFamily(name, said, labels=labels), found)


def _filled(metric: Any, found: Values) -> Metric:
    for labels, value in found.items():
        if value is not None:
            metric.add_metric(labels, float(value))
    return metric  # type: ignore[no-any-return]
