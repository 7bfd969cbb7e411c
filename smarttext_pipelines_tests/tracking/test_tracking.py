"""What was told is written once, with the time of the call: through outages, crashes, forks and at a process' end."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from smarttext_pipelines import tracking
from smarttext_pipelines.database.connect import open_engine, parse_url
from smarttext_pipelines.database.embedded import embedded_server, ensure_database
from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines.tracking.reports import WriterReport
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.guardrail import COUNTER, LEDGER, add_businesses, reap
from smarttext_pipelines_tests.legacy import create_roles
from smarttext_pipelines_tests.proxy import Proxy, proxied

SMS: dict[str, Any] = {"from_": "+15550100", "to": "+15550101", "status": "queued"}
ROWS = "SELECT count(*) AS rows, count(DISTINCT request_id) AS events FROM public.sms_events"


@pytest.fixture(autouse=True)
def _own_process(tmp_path: Path) -> Iterator[None]:
    yield
    tracking.configure(database_url="postgresql://x@127.0.0.1:9/x", spill_folder=tmp_path / "unused")


@pytest.fixture
def proxy(database: Database) -> Iterator[Proxy]:
    with proxied(parse_url(database.url).port or 5432) as proxy:
        yield proxy


def through(proxy: Proxy, database: Database) -> str:
    return parse_url(database.url).set(port=proxy.port).render_as_string(hide_password=False)


def tell(first: int, count: int, **more: Any) -> None:
    for n in range(first, first + count):
        tracking.track_sms_event(**SMS, request_id=f"r{n}", **more)


def spilled(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.journal") if path.stat().st_size)


def test_each_kind_of_event_arrives_as_any_writer_would_write_it(database: Database, tmp_path: Path) -> None:
    business = add_businesses(database, 1)[0]
    tracking.configure(database_url=database.url, spill_folder=tmp_path)
    at = datetime(2026, 3, 8, 6, 59, 59, 123456, UTC)
    tracking.track_sms_event(
        **SMS, message_sid="", business_id=business, error_code=30007, payload={"a": [1]}, occurred_at=at
    )
    tracking.track_call_event(event_type="voice.missed", call_sid="CA1", from_="+15550102", occurred_at=at)
    tracking.track_owner_alert(
        business_id=business, owner_phone="+15550103", customer_phone="+15550102", alert_type="missed_call",
        message_content="call back", occurred_at=at,
    )  # fmt: skip
    tracking.track_openai_usage(
        endpoint="chat", input_tokens=100, output_tokens=50, model="gpt-4o-mini", business_id=business, occurred_at=at
    )
    assert tracking.flush(10)
    (sms,) = database.rows("SELECT * FROM public.sms_events")
    assert (sms["error_code"], sms["payload"], sms["created_at"], sms["business_id"]) == (
        "30007",
        {"a": [1]},
        at,
        business,
    )
    assert database.rows("SELECT ts FROM public.call_events") == [{"ts": at}]
    assert database.rows("SELECT created_at, delivered FROM public.owner_alerts") == [
        {"created_at": at, "delivered": True}
    ]
    (usage,) = database.rows("SELECT * FROM public.api_usage")
    assert (usage["service"], usage["tokens_used"], usage["reset_date"]) == ("openai", 150, date(2026, 3, 8))
    assert usage["cost_estimate"] == Decimal("0.000045")


def test_the_day_of_usage_is_that_of_the_call_in_the_reporting_zone(empty_database: Database, tmp_path: Path) -> None:
    from zoneinfo import ZoneInfo

    migrate(empty_database.engine, ZoneInfo("America/New_York"))
    tracking.configure(database_url=empty_database.url, spill_folder=tmp_path)
    tracking.track_openai_usage(endpoint="chat", tokens_used=1, occurred_at=datetime(2026, 3, 9, 3, 59, tzinfo=UTC))
    assert tracking.flush(10)
    assert empty_database.rows("SELECT reset_date FROM public.api_usage") == [{"reset_date": date(2026, 3, 8)}]


def test_an_outage_loses_nothing_and_writes_nothing_twice(database: Database, proxy: Proxy, tmp_path: Path) -> None:
    tracking.configure(database_url=through(proxy, database), spill_folder=tmp_path, buffer_bytes=50_000)
    tell(0, 300)
    proxy.cut()
    before = datetime.now(UTC)
    tell(300, 1500)
    after = datetime.now(UTC)
    assert not tracking.flush(0.3)
    assert spilled(tmp_path)
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in spilled(tmp_path))
    proxy.restore()
    tell(1800, 200)
    assert tracking.flush(20)
    assert database.rows(ROWS) == [{"rows": 2000, "events": 2000}]
    assert tracking.counters().spilled >= 1500
    assert spilled(tmp_path) == []
    (times,) = database.rows(
        "SELECT min(created_at) AS first, max(created_at) AS last FROM public.sms_events "
        "WHERE substr(request_id, 2)::int BETWEEN 300 AND 1799"
    )
    assert before <= times["first"] <= times["last"] <= after
    counts = tracking.counters()
    assert (counts.accepted, counts.written, counts.dropped, counts.pending) == (2000, 2000, 0, 0)


def test_connections_that_are_cut_again_and_again_lose_and_repeat_nothing(
    database: Database, proxy: Proxy, tmp_path: Path
) -> None:
    tracking.configure(database_url=through(proxy, database), spill_folder=tmp_path)
    for n in range(20):
        tell(n * 100, 100)
        proxy.cut()
        proxy.restore()
    assert tracking.flush(30)
    assert database.rows(ROWS) == [{"rows": 2000, "events": 2000}]


def test_a_full_file_drops_and_counts_and_memory_stays_bounded(
    database: Database, proxy: Proxy, tmp_path: Path
) -> None:
    proxy.cut()
    tracking.configure(
        database_url=through(proxy, database), spill_folder=tmp_path, spill_bytes=100_000, buffer_bytes=20_000
    )
    tell(0, 2000)
    assert not tracking.flush(0.5)
    counts = tracking.counters()
    assert counts.dropped > 0
    assert counts.dropped + counts.pending == counts.accepted == 2000
    assert sum(path.stat().st_size for path in spilled(tmp_path)) <= 100_000
    proxy.restore()
    assert not tracking.flush(20), "something was dropped"
    assert tracking.counters().pending == 0
    assert database.rows(ROWS) == [{"rows": 2000 - counts.dropped, "events": 2000 - counts.dropped}]


def test_a_row_that_the_database_never_takes_is_rejected_and_holds_up_no_other(
    database: Database, tmp_path: Path
) -> None:
    tracking.configure(database_url=database.url, spill_folder=tmp_path)
    for n in range(100):
        unknown = UUID(int=n) if n in (13, 77) else None
        tracking.track_sms_event(**SMS, request_id=f"r{n}", business_id=unknown)
    assert tracking.flush(10)
    assert database.rows(ROWS) == [{"rows": 98, "events": 98}]
    assert (tracking.counters().written, tracking.counters().rejected) == (98, 2)


def test_synchronous_use_writes_at_once_and_names_what_is_wrong(database: Database, tmp_path: Path) -> None:
    tracking.configure(database_url=database.url, spill_folder=tmp_path, synchronous=True)
    tell(0, 3)
    assert database.rows(ROWS) == [{"rows": 3, "events": 3}]
    with pytest.raises(ValueError, match="business_id names no business"):
        tracking.track_sms_event(**SMS, business_id=UUID(int=1))


def test_synchronous_use_never_raises_for_an_outage(database: Database, proxy: Proxy, tmp_path: Path) -> None:
    tracking.configure(database_url=through(proxy, database), spill_folder=tmp_path, synchronous=True)
    proxy.cut()
    tell(0, 5)
    proxy.restore()
    assert tracking.flush(20)
    assert database.rows(ROWS) == [{"rows": 5, "events": 5}]


def test_usage_that_was_reserved_is_booked_by_its_settlement_alone(database: Database, tmp_path: Path) -> None:
    business = add_businesses(database, 1)[0]
    tracking.configure(database_url=database.url, spill_folder=tmp_path, decide_within_s=10)
    with tracking.reserve_openai_usage(business, 500, "one") as reservation:
        tracking.track_openai_usage(endpoint="chat", tokens_used=400, request_id="one", business_id=business)
        assert tracking.flush(10)
        assert reservation.settle(400)
        assert not reservation.settle(400)
    tracking.track_openai_usage(endpoint="chat", tokens_used=400, request_id="one", business_id=business)
    assert tracking.flush(10)
    assert database.rows("SELECT tokens_used FROM public.api_usage") == [{"tokens_used": 400}]
    assert tracking.check_openai_usage_limit(business).used == 400


def test_a_refused_reservation_raises_on_entry_only(database: Database, tmp_path: Path) -> None:
    tracking.configure(database_url=database.url, spill_folder=tmp_path, decide_within_s=10)
    refused = tracking.reserve_openai_usage(None, 100_001, "one")
    assert (refused.allowed, refused.decision.reason) == (False, "limit_tokens")
    with pytest.raises(tracking.BudgetExceeded, match="limit_tokens"), refused:
        pass
    with pytest.raises(ValueError, match="no such business"):
        tracking.reserve_openai_usage(UUID(int=1), 1, "two")


@pytest.mark.parametrize(
    ("policy", "allowed"), [("closed", [False, False]), ("open", [True, True]), ("open_local", [True, False])]
)
def test_the_policy_decides_within_its_time_when_the_store_is_silent(
    database: Database, proxy: Proxy, tmp_path: Path, policy: str, allowed: list[bool]
) -> None:
    business = add_businesses(database, 1)[0]
    tracking.configure(database_url=through(proxy, database), spill_folder=tmp_path, policy=policy, local_allowance=700)
    _until(lambda: tracking.check_openai_usage_limit(business).reason is None)
    before = tracking.counters().by_policy
    proxy.delay_s = 1.0
    begun = time.monotonic()
    reservations = [tracking.reserve_openai_usage(business, 600, f"request {n}") for n in range(2)]
    assert time.monotonic() - begun < 1.0
    assert [reservation.allowed for reservation in reservations] == allowed
    assert {reservation.decision.reason for reservation in reservations} == {"store_unavailable"}
    assert tracking.counters().by_policy - before == 2
    proxy.delay_s = 0.0
    for reservation in reservations:
        if reservation.allowed:
            reservation.settle(500)
    assert tracking.flush(20)
    held = "SELECT FROM monitoring.openai_reservations WHERE state = 'held'"
    _until(lambda: policy == "open_local" or not database.rows(held))
    # Whatever came late is booked once if it was called, and given back if it was not.
    reap(database)
    (used,) = database.rows("SELECT coalesce(sum(tokens_used), 0) AS n FROM public.api_usage")
    assert used["n"] == {"closed": 0, "open": 1000}.get(policy, used["n"])


def _until(condition: Any) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_child_of_a_fork_writes_its_own_events_and_not_its_parents(database: Database, tmp_path: Path) -> None:
    tracking.configure(database_url=database.url, spill_folder=tmp_path)
    code = """
import os, sys
from smarttext_pipelines import tracking
tracking.configure(database_url=sys.argv[1], spill_folder=sys.argv[2], decide_within_s=10)
event = {"from_": "+15550100", "to": "+15550101", "status": "queued"}
for n in range(50): tracking.track_sms_event(**event, request_id=f"parent {n}")
tracking.reserve_openai_usage(None, 1, "parent")
children = []
for child in range(3):
    pid = os.fork()
    if not pid:
        for n in range(50): tracking.track_sms_event(**event, request_id=f"{child} {n}")
        assert tracking.reserve_openai_usage(None, 1, str(child)).allowed
        sys.exit(0 if tracking.flush(20) else 1)
    children.append(pid)
for n in range(50, 100): tracking.track_sms_event(**event, request_id=f"parent {n}")
assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, database.url, str(tmp_path)], check=True, timeout=60)
    assert database.rows(ROWS) == [{"rows": 250, "events": 250}]


def test_what_is_buffered_at_the_end_of_a_process_is_written(database: Database, tmp_path: Path) -> None:
    _run_and_end(database.url, tmp_path)
    assert database.rows(ROWS) == [{"rows": 100, "events": 100}]


def test_what_an_ended_process_could_not_write_is_written_by_the_next(database: Database, tmp_path: Path) -> None:
    _run_and_end("postgresql://x@127.0.0.1:9/x", tmp_path)
    assert len(spilled(tmp_path)) == 1
    tracking.configure(database_url=database.url, spill_folder=tmp_path)
    tell(1000, 1)
    _until(lambda: not spilled(tmp_path))
    assert database.rows(ROWS) == [{"rows": 101, "events": 101}]


def _run_and_end(url: str, folder: Path) -> None:
    code = """
import sys
from smarttext_pipelines import tracking
tracking.configure(database_url=sys.argv[1], spill_folder=sys.argv[2])
for n in range(100): tracking.track_sms_event(from_="+15550100", to="+15550101", status="queued", request_id=f"r{n}")
"""
    subprocess.run([sys.executable, "-c", code, url, str(folder)], check=True, timeout=60)


def test_a_killed_process_loses_nothing_that_was_in_its_file(database: Database, tmp_path: Path) -> None:
    code = """
import os, signal, sys
from smarttext_pipelines import tracking
tracking.configure(database_url="postgresql://x@127.0.0.1:9/x", spill_folder=sys.argv[1])
for n in range(100): tracking.track_sms_event(from_="+15550100", to="+15550101", status="queued", request_id=f"r{n}")
while tracking.counters().spilled < 100: tracking.flush(0.1)
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=60)
    tracking.configure(database_url=database.url, spill_folder=tmp_path)
    tell(1000, 1)
    _until(lambda: not spilled(tmp_path))
    assert database.rows(ROWS) == [{"rows": 101, "events": 101}]


def test_an_event_loop_is_not_held_up_by_a_slow_database(database: Database, proxy: Proxy, tmp_path: Path) -> None:
    tracking.configure(database_url=through(proxy, database), spill_folder=tmp_path)
    proxy.delay_s = 2.0

    async def main() -> int:
        beats = 0
        tell(0, 100)
        reserving = asyncio.create_task(asyncio.to_thread(tracking.reserve_openai_usage, None, 1, "one"))
        while not reserving.done():
            await asyncio.sleep(0.005)
            beats += 1
        return beats

    assert asyncio.run(main()) >= 5
    proxy.delay_s = 0
    assert tracking.flush(20)


def test_service_role_is_all_that_the_library_needs(database: Database, tmp_path: Path) -> None:
    from zoneinfo import ZoneInfo

    create_roles(database.server)
    migrate(database.engine, ZoneInfo("UTC"))
    business = add_businesses(database, 1)[0]
    tracking.configure(
        database_url=database.url + "?options=-c%20role%3Dservice_role",
        spill_folder=tmp_path,
        synchronous=True,
        decide_within_s=10,
    )
    tell(0, 1, business_id=business)
    with tracking.reserve_openai_usage(business, 100, "one") as reservation:
        assert reservation.settle(90)
    tracking.track_openai_usage(endpoint="chat", tokens_used=5)
    tracking.track_call_event(event_type="voice.missed")
    day = datetime.now(UTC).date()
    assert tracking.get_daily_stats(business, day, day) == []
    assert tracking.get_openai_usage(business, day, day) == []
    assert tracking.get_sms_failure_rate(business, day - timedelta(days=1), day) == []
    assert tracking.counters().written == 3


def test_writers_report_their_counters_for_others_to_read(database: Database, tmp_path: Path) -> None:
    tracking.configure(database_url=database.url, spill_folder=tmp_path)
    tell(0, 10)
    assert tracking.flush(10)
    _until(lambda: database.rows("SELECT FROM monitoring.tracking_writers"))
    (found,) = database.rows("SELECT process_id, accepted, dropped FROM monitoring.tracking_writers")
    assert (found["process_id"], found["accepted"], found["dropped"]) == (os.getpid(), 10, 0)


def test_what_was_lost_long_ago_is_no_news_however_long_the_process_runs(database: Database) -> None:
    """The counters are those of the process; the time tells when they last rose."""
    report, told = WriterReport(), "SELECT dropped, dropped_at > now() - interval '1 hour' AS new, rejected_at AS never"
    with database.server.connect(database.name) as connection:
        report.send(connection, {"accepted": 9, "dropped": 3})
        assert database.rows(f"{told} FROM monitoring.tracking_writers") == [{"dropped": 3, "new": True, "never": None}]
        connection.execute("UPDATE monitoring.tracking_writers SET dropped_at = now() - interval '20 days'")
        report.send(connection, {"accepted": 10, "dropped": 3})
        assert database.rows(f"{told} FROM monitoring.tracking_writers")[0]["new"] is False
        report.send(connection, {"accepted": 11, "dropped": 4})
        assert database.rows(f"{told} FROM monitoring.tracking_writers")[0]["new"] is True


def test_failed_messages_reach_sentry_as_one_event_with_a_count_and_without_numbers(tmp_path: Path) -> None:
    received: list[bytes] = []

    class Sentry(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Sentry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    code = f"""
import sentry_sdk
from smarttext_pipelines import tracking
sentry_sdk.init("http://" + "public" + "@127.0.0.1:{server.server_port}/1")
tracking.configure(database_url="postgresql://x@127.0.0.1:9/x", spill_folder={str(tmp_path)!r})
for n in range(30):
    numbers = {{"from_": "+14155550123", "to": "+14155550124", "error_message": "to +14155550124"}}
    tracking.track_sms_event(status="Failed", error_code=30007, **numbers)
sentry_sdk.flush()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    server.shutdown()
    server.server_close()
    sent = b"\n".join(_unzip(body) for body in received)
    assert b"4155550" not in sent
    events = [json.loads(line) for line in sent.splitlines() if line.startswith(b"{") and b'"level"' in line]
    ours = [event for event in events if "message Failed 30007" in json.dumps(event)]
    assert len(ours) == 1
    assert ours[0]["extra"]["count"] == 30


def _unzip(body: bytes) -> bytes:
    import gzip

    return gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body


def test_a_killed_postgresql_loses_and_repeats_nothing(tmp_path: Path) -> None:
    from zoneinfo import ZoneInfo

    place = tmp_path / "server"
    place.mkdir()
    for folder in (place, tmp_path, tmp_path.parent):
        folder.chmod(0o755)
    with ExitStack() as stack:
        with embedded_server(place) as server:
            ensure_database(server, "events")
            migrate(open_engine(server.url("events")), ZoneInfo("UTC"))
            proxy = stack.enter_context(proxied(server.port))
            url = parse_url(server.url("events")).set(port=proxy.port).render_as_string(hide_password=False)
            tracking.configure(database_url=url, spill_folder=tmp_path / "spill")
            tell(0, 500)
            os.kill(int((server.data_directory / "postmaster.pid").read_text().splitlines()[0]), signal.SIGKILL)
            tell(500, 500)
            assert not tracking.flush(0.3)
        with embedded_server(place) as again:
            proxy.target = again.port
            tell(1000, 500)
            assert tracking.flush(30)
            with psycopg.connect(again.url("events")) as connection:
                assert connection.execute(ROWS).fetchone() == (1500, 1500)
            tracking.configure(database_url="postgresql://x@127.0.0.1:9/x", spill_folder=tmp_path / "unused")


def test_the_example_of_the_readme_prints_what_the_readme_shows(database: Database, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, str(root / "examples" / "track_and_reserve.py")]
    environment = {**os.environ, "SMARTTEXT_DATABASE_URL": database.url, "SMARTTEXT_DATA_DIR": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout in (root / "README.md").read_text()


def test_a_disk_that_is_full_keeps_whole_records_and_counts_the_rest(database: Database, tmp_path: Path) -> None:
    code = """
import resource, sys
from smarttext_pipelines import tracking
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
tracking.configure(database_url="postgresql://x@127.0.0.1:9/x", spill_folder=sys.argv[1], buffer_bytes=3_000)
for n in range(300): tracking.track_sms_event(from_="+15550100", to="+15550101", status="queued", request_id=f"r{n}")
tracking.flush(0.5)
counts = tracking.counters()
assert counts.dropped and counts.buffered and counts.dropped + counts.pending == 300, counts
print(counts.pending - counts.buffered)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60, capture_output=True, text=True
    )
    tracking.configure(database_url=database.url, spill_folder=tmp_path)
    tell(1000, 1)
    _until(lambda: not spilled(tmp_path))
    assert database.rows(ROWS) == [{"rows": int(done.stdout) + 1, "events": int(done.stdout) + 1}]


def test_a_setting_that_cannot_be_read_reaches_no_caller(tmp_path: Path) -> None:
    code = """
from smarttext_pipelines import tracking
assert tracking.track_sms_event(from_="+15550100", to="+15550101", status="queued")
assert tracking.reserve_openai_usage(None, 1, "one").decision.reason == "store_unavailable"
"""
    environment = {**os.environ, "SMARTTEXT_DATABASE_URL": "mysql://nowhere/x"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        timeout=60,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert "the database URL cannot be read" in done.stderr
    assert len(spilled(tmp_path / ".smarttext" / "spill")) == 1


def test_a_statement_of_a_thousand_rows_is_counted_like_any_other(database: Database) -> None:
    businesses = add_businesses(database, 50)
    database.run(
        "INSERT INTO public.api_usage (service, endpoint, business_id, tokens_used) "
        "SELECT 'openai', 'chat', (%s::uuid[])[1 + n %% 51], nullif(n %% 7, 3) - 1 FROM generate_series(1, 1000) AS n",
        businesses,
    )
    assert database.rows(COUNTER) == database.rows(LEDGER) != []
