"""The numbers of ``/metrics``, pushed to an OpenTelemetry collector over OTLP/HTTP.

Counters are sums that began with the reporting day, so a collector sees that they start again at midnight. Source:
OpenTelemetry specification, "Metrics data model", sums with cumulative temporality.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from prometheus_client.core import Metric

from smarttext_pipelines.telemetry.collector import DatabaseCollector

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

INTERVAL_S = 30.0
"""Between two exports; the database is read at most that often for them."""

TIMEOUT_S = 10
_DAY_START = "smarttext_day_start_timestamp_seconds"
_OF_ALL_TIME = ("smarttext_tracking_dropped",)
"""Counters that do not begin with the reporting day; when they did is not known."""

_NANO = 1_000_000_000
_log = logging.getLogger("smarttext_pipelines.telemetry")


class OtlpPush:
    """Exports what a collector reads; a failure is counted, logged once, and costs nothing else."""

    def __init__(self, collector: DatabaseCollector, endpoint: str) -> None:
        """Send nothing yet.

        Args:
            collector: Of the database.
            endpoint: Base address of an OTLP/HTTP receiver, such as http://127.0.0.1:4318.
        """
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

        self._collector = collector
        self._exporter = OTLPMetricExporter(endpoint=f"{endpoint.rstrip('/')}/v1/metrics", timeout=TIMEOUT_S)
        self._stopped = threading.Event()
        self.exports, self.failures = 0, 0

    def export(self) -> bool:
        """Export once; return whether the receiver took it."""
        from opentelemetry.sdk.metrics.export import MetricExportResult

        try:
            result = self._exporter.export(otlp_data(self._collector.collect(), time.time_ns()))
            is_taken = result is MetricExportResult.SUCCESS
        except Exception as error:  # noqa: BLE001 - whatever happens to an exporter, the dashboard goes on
            _log.debug("an export ended with %s", type(error).__name__)
            is_taken = False
        self.exports += 1
        if not is_taken:
            self.failures += 1
            if self.failures == 1:
                _log.warning("the collector of OTEL_EXPORTER_OTLP_ENDPOINT takes no metrics; they are sent again")
        return is_taken

    def run(self, wait: Callable[[float], bool] | None = None) -> None:
        """Export every ``INTERVAL_S`` seconds until it is stopped."""
        wait = wait or self._stopped.wait
        while not wait(INTERVAL_S):
            self.export()

    def stop(self) -> None:
        """End ``run``, also one that waits for a receiver that does not answer."""
        self._stopped.set()
        self._exporter.shutdown()


@contextmanager
def pushing(collector: DatabaseCollector, endpoint: str | None) -> Iterator[OtlpPush | None]:
    """Export in a thread within the block; do nothing without an endpoint."""
    if endpoint is None:
        yield None
        return
    # The exporter logs each failure with its address.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    push = OtlpPush(collector, endpoint)
    threading.Thread(target=push.run, name="otlp", daemon=True).start()
    try:
        yield push
    finally:
        push.stop()


def otlp_data(families: Iterable[Metric], now_ns: int) -> "MetricsData":
    """Return families of Prometheus as OTLP data: counters as sums of the day, everything else as gauges.

    Args:
        families: As a collector of prometheus-client gives them.
        now_ns: Time of reading, in nanoseconds since 1970.
    """
    from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    found = list(families)
    starts = [int(s.value * _NANO) for family in found if family.name == _DAY_START for s in family.samples]
    start = starts[0] if starts else now_ns
    scope = ScopeMetrics(
        scope=InstrumentationScope("smarttext_pipelines"),
        metrics=[_metric(family, start, now_ns) for family in found if family.samples],
        schema_url="",
    )
    resource = Resource.create({"service.name": "smarttext"})
    return MetricsData([ResourceMetrics(resource=resource, scope_metrics=[scope], schema_url="")])


def _metric(family: Metric, start_ns: int, now_ns: int) -> Any:
    from opentelemetry.sdk.metrics import export

    is_sum = family.type == "counter"
    began = start_ns if is_sum and family.name not in _OF_ALL_TIME else 0
    points = [
        export.NumberDataPoint(
            attributes=dict(sample.labels),
            start_time_unix_nano=began,
            time_unix_nano=now_ns,
            value=float(sample.value),
        )
        for sample in family.samples
        if not sample.name.endswith("_created")
    ]
    data: Any = export.Gauge(points)
    if is_sum:
        data = export.Sum(points, export.AggregationTemporality.CUMULATIVE, is_monotonic=True)
    return export.Metric(name=family.name, description=family.documentation, unit=family.unit, data=data)
