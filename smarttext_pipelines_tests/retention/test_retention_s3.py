"""The same archive in an object store: moto's server, behind a proxy that answers with errors and slow bodies."""

import hashlib
import http.client
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq
import pytest

from smarttext_pipelines.archive.manifest import UNDATED
from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import ArchiveError, DamagedFileError
from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines.retention.manifest_check import raise_damage, scrub
from smarttext_pipelines.retention.restore import restore
from smarttext_pipelines.retention.run import Retention, archive_days, raise_failures
from smarttext_pipelines_tests import strategies
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import cells, replace_events, roll_up_all

pytest.importorskip("s3fs")
moto_server = pytest.importorskip("moto.server")

DAY = date(2026, 3, 15)
AROUND = DayRange(DAY, DAY).widen(12)
AS_OF = datetime(2026, 11, 20, 7, tzinfo=UTC)
BUCKET = "events-archive"


@dataclass
class Proxy:
    """What stands between us and the store.

    Attributes:
        port: Where it listens.
        errors: How many of the next requests with the method are answered with 500.
        slow: Whether bodies come in small parts.
        flip: Whether a bit of each body that is got is flipped.
    """

    port: int = 0
    method: str = "GET"
    errors: int = 0
    slow: bool = False
    flip: bool = False
    answered_500: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fails(self, method: str) -> bool:
        with self.lock:
            if method != self.method or self.errors <= 0:
                return False
            self.errors, self.answered_500 = self.errors - 1, self.answered_500 + 1
            return True


def _handler(proxy: Proxy, upstream: int) -> type[BaseHTTPRequestHandler]:  # noqa: C901
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_arguments: object) -> None:
            pass

        def _forward(self) -> None:
            body = self._body()
            if proxy.fails(self.command):
                self._answer(500, {}, b"<Error><Code>InternalError</Code><Message>try again</Message></Error>")
                return
            connection = http.client.HTTPConnection("127.0.0.1", upstream)
            names = {n: v for n, v in self.headers.items() if n.lower() not in ("transfer-encoding", "content-length")}
            connection.request(self.command, self.path, body, {**names, "Content-Length": str(len(body))})
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            if proxy.flip and self.command == "GET" and content[:4] == b"PAR1":
                content = content[:200] + bytes([content[200] ^ 1]) + content[201:]
            self._answer(answer.status, dict(answer.getheaders()), content)

        def _body(self) -> bytes:
            if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                    self.send_header(name, value)
            length = headers.get("Content-Length", len(content)) if self.command == "HEAD" else len(content)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            step = 4096 if proxy.slow else max(len(content), 1)
            for start in range(0, len(content), step):
                if proxy.slow:
                    threading.Event().wait(0.02)
                self.wfile.write(content[start : start + step])

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _forward  # noqa: N815

    return Handler


@pytest.fixture(scope="module")
def store() -> Iterator[int]:
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield server.get_host_and_port()[1]
    finally:
        server.stop()


@pytest.fixture
def proxy(store: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    proxy = Proxy()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(proxy, store))
    proxy.port = server.server_port
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", secrets.token_hex(8))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secrets.token_hex(8))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def archive(proxy: Proxy) -> ArchiveTarget:
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    target = ArchiveTarget(f"s3://{BUCKET}/{secrets.token_hex(4)}")
    if not target._files.exists(BUCKET):
        target._files.mkdir(BUCKET)
    return target


@pytest.fixture
def loaded(database: Database) -> Database:
    replace_events(database.engine, strategies.every_peculiarity(ZoneInfo("UTC"), DAY))
    roll_up_all(database.engine, AROUND, as_of=AS_OF)
    return database


def run(database: Database, archive: ArchiveTarget) -> None:
    retention = Retention(ZoneInfo("UTC"), 4, 90, deletes=True)
    raise_failures(archive_days(database.engine, archive, retention, done=lambda _d: None, begun=lambda _n: None))


def live(database: Database) -> int:
    return int(database.rows("SELECT count(*) FROM public.sms_events")[0]["count"])


def test_an_archive_in_s3_is_read_restored_and_checked_by_the_same_code(
    loaded: Database, archive: ArchiveTarget
) -> None:
    before, rows = {name: cells(loaded.engine, name) for name in METRICS}, live(loaded)
    run(loaded, archive)
    assert live(loaded) == 1
    results = roll_up_all(loaded.engine, AROUND, as_of=AS_OF, archive=archive)
    assert results["sms_outcomes"].engine == "archive"
    assert {name: cells(loaded.engine, name) for name in METRICS} == before
    raise_damage(scrub(loaded.engine, archive))
    restore(loaded.engine, archive, "sms_events", AROUND)
    assert live(loaded) == rows


@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_a_single_500_is_tried_again(loaded: Database, archive: ArchiveTarget, proxy: Proxy, method: str) -> None:
    proxy.method, proxy.errors = method, 1
    run(loaded, archive)
    assert proxy.answered_500 == 1
    assert live(loaded) == 1


def test_slow_bodies_are_waited_for(loaded: Database, archive: ArchiveTarget, proxy: Proxy) -> None:
    proxy.slow = True
    run(loaded, archive)
    assert live(loaded) == 1


def test_a_store_that_keeps_failing_deletes_nothing_and_is_resumed(
    loaded: Database, archive: ArchiveTarget, proxy: Proxy
) -> None:
    before = live(loaded)
    proxy.method, proxy.errors = "PUT", 10**6
    with pytest.raises(ArchiveError, match="cannot write"):
        run(loaded, archive)
    assert live(loaded) == before
    proxy.errors = 0
    run(loaded, archive)
    assert live(loaded) == 1


def test_what_the_store_gives_back_changed_is_found_before_anything_is_deleted(
    loaded: Database, archive: ArchiveTarget, proxy: Proxy
) -> None:
    before = live(loaded)
    proxy.flip = True
    with pytest.raises(ArchiveError, match=r"is damaged|checksum"):
        run(loaded, archive)
    assert live(loaded) == before
    proxy.flip = False
    run(loaded, archive)
    named: set[Any] = {r["object_key"] for r in loaded.rows("SELECT object_key FROM monitoring.archive_segments")}
    stored = archive._files.find(archive._root)
    assert {key.removeprefix(archive._root + "/") for key in stored} == named - {None}


def test_a_missing_object_is_no_number(loaded: Database, archive: ArchiveTarget) -> None:
    run(loaded, archive)
    archive._files.rm(archive._root, recursive=True)
    with pytest.raises(DamagedFileError, match="missing"):
        roll_up_all(loaded.engine, AROUND, as_of=AS_OF, archive=archive)


def test_a_key_that_leads_out_of_the_archive_is_refused_before_the_store_is_asked(
    loaded: Database, archive: ArchiveTarget, proxy: Proxy
) -> None:
    run(loaded, archive)
    # Files of other tables are read as ever.
    loaded.run("DELETE FROM monitoring.archive_segments WHERE table_name <> 'sms_events'")
    rows = live(loaded)
    (segment,) = loaded.rows(
        "SELECT object_key FROM monitoring.archive_segments WHERE table_name = 'sms_events' AND day = %s", DAY
    )
    # The very bytes of the segment lie outside.
    outside = f"{BUCKET}/outside.parquet"
    archive._files.copy(f"{archive._root}/{segment['object_key']}", outside)
    proxy.method, proxy.errors = "GET", 10**6
    for key in ("../outside.parquet", f"/{outside}", f"s3://{outside}", "a/../../outside.parquet"):
        loaded.run("UPDATE monitoring.archive_segments SET object_key = %s WHERE table_name = 'sms_events'", key)
        with pytest.raises(DamagedFileError, match="not its own"):
            roll_up_all(loaded.engine, AROUND, as_of=AS_OF, archive=archive)
        with pytest.raises(DamagedFileError, match="not its own"):
            restore(loaded.engine, archive, "sms_events", AROUND)
        with pytest.raises(ArchiveError, match="leads out of the archive"):
            archive.require(key, "0")
        with pytest.raises(ArchiveError, match="leads out of the archive"):
            archive.remove(key)
        loaded.run(
            "INSERT INTO monitoring.archive_segments (id, table_name, day, seq, state, object_key)"
            " VALUES (gen_random_uuid(), 'sms_events', %s, 9, 'planned', %s)",
            DAY + timedelta(days=60), key,
        )  # fmt: skip
        with pytest.raises(ArchiveError, match="not its own; it was left alone"):
            run(loaded, archive)
        loaded.run("DELETE FROM monitoring.archive_segments WHERE day = %s", DAY + timedelta(days=60))
    assert archive._files.exists(outside)
    assert proxy.answered_500 == 0
    assert live(loaded) == rows


def test_a_file_that_was_rewritten_with_its_hash_is_not_read(loaded: Database, archive: ArchiveTarget) -> None:
    run(loaded, archive)
    (segment,) = loaded.rows(
        "SELECT object_key FROM monitoring.archive_segments WHERE table_name = 'sms_events' AND day = %s", DAY
    )
    place = f"{archive._root}/{segment['object_key']}"
    with archive._files.open(place, "rb") as file:
        rows = pq.read_table(file)
    with archive._files.open(place, "wb") as file:
        pq.write_table(rows.slice(1), file)
    digest = hashlib.sha256(archive._files.cat_file(place)).hexdigest()
    loaded.run(
        "UPDATE monitoring.archive_segments SET file_sha256 = %s WHERE object_key = %s", digest, segment["object_key"]
    )
    for read in (
        lambda: roll_up_all(loaded.engine, AROUND, as_of=AS_OF, archive=archive),
        lambda: restore(loaded.engine, archive, "sms_events", DayRange(DAY, DAY)),
    ):
        with pytest.raises(DamagedFileError, match="its rows are not those that were verified"):
            read()
    assert live(loaded) == 1


def test_rows_without_a_day_go_there_and_come_back(loaded: Database, archive: ArchiveTarget) -> None:
    before = live(loaded)
    retention = Retention(ZoneInfo("UTC"), 4, 90, deletes=True, undated=True)
    raise_failures(archive_days(loaded.engine, archive, retention, done=lambda _d: None, begun=lambda _n: None))
    assert live(loaded) == before - 1
    restore(loaded.engine, archive, "sms_events", DayRange(UNDATED, UNDATED))
    assert live(loaded) == before
