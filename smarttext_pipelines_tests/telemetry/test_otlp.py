"""What is pushed over OTLP is what /metrics says, decoded by OpenTelemetry; nobody there costs nothing."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from smarttext_pipelines.telemetry.collector import DatabaseCollector
from smarttext_pipelines.telemetry.otlp import OtlpPush, pushing
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.telemetry.test_metrics import _collector, _scraped, world

__all__ = ["world"]


class Sink(ThreadingHTTPServer):
    """An OTLP/HTTP receiver that keeps what it decodes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.taken: list[ExportMetricsServiceRequest] = []
        self.received = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        import gzip

        body = self.rfile.read(int(self.headers["Content-Length"]))
        told = ExportMetricsServiceRequest()
        told.ParseFromString(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
        sink: Any = self.server
        is_ours = self.path == "/v1/metrics"
        if is_ours:
            sink.taken.append(told)
            sink.received.set()
        self.send_response(200 if is_ours else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def _decoded(told: ExportMetricsServiceRequest) -> dict[str, float]:
    found = {}
    for metric in told.resource_metrics[0].scope_metrics[0].metrics:
        points = metric.sum.data_points if metric.HasField("sum") else metric.gauge.data_points
        for point in points:
            labels = [attribute.value.string_value for attribute in point.attributes]
            suffix = "_total" if metric.HasField("sum") else "_info" if metric.name == "smarttext_build" else ""
            found[",".join([metric.name + suffix, *labels])] = point.as_double
    return found


def test_every_number_is_that_of_metrics_to_the_digit(world: Database, sink: Sink) -> None:
    collector = _collector(world)
    assert OtlpPush(collector, sink.url).export()
    assert _decoded(sink.taken[0]) == _scraped(collector)


def test_counters_are_sums_that_began_with_the_reporting_day(world: Database, sink: Sink) -> None:
    collector = _collector(world)
    OtlpPush(collector, sink.url + "/").export()
    metrics = sink.taken[0].resource_metrics[0].scope_metrics[0].metrics
    sums = [m.sum for m in metrics if m.HasField("sum") and m.name != "smarttext_tracking_dropped"]
    began = int(_scraped(collector)["smarttext_day_start_timestamp_seconds"]) * 1_000_000_000
    assert {point.start_time_unix_nano for found in sums for point in found.data_points} == {began}
    assert all(s.is_monotonic for s in sums)
    assert {s.aggregation_temporality for s in sums} == {AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE}


def test_nobody_there_is_a_counted_failure_and_stops_at_once(world: Database, caplog: pytest.LogCaptureFixture) -> None:
    with Sink() as gone:
        url = gone.url
    with pushing(_collector(world), url) as push:
        assert push is not None
        ended = threading.Thread(target=push.export)
        ended.start()
    ended.join(20)
    assert not ended.is_alive()
    assert (push.exports, push.failures) == (1, 1)
    assert url not in caplog.text


def test_it_exports_by_itself_until_it_is_stopped(world: Database, sink: Sink) -> None:
    push, waits = OtlpPush(_collector(world), sink.url), iter([False, False, True])
    push.run(lambda _seconds: next(waits))
    assert len(sink.taken) == 2


def test_without_an_endpoint_nothing_is_started(world: Database) -> None:
    before = threading.active_count()
    collector: DatabaseCollector = _collector(world)
    with pushing(collector, None) as push:
        assert push is None
        assert threading.active_count() == before
    assert collector.reads == 0
