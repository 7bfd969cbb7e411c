"""One bad row, table or file holds up no other, and nothing that was told is thrown away."""

import logging
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from smarttext_pipelines import tracking
from smarttext_pipelines.core.errors import SettingsError
from smarttext_pipelines.tracking import drain
from smarttext_pipelines.tracking.journals import Journals
from smarttext_pipelines_tests.conftest import SOAK, Database
from smarttext_pipelines_tests.guardrail import add_businesses

SMS: dict[str, Any] = {"from_": "+15550100", "to": "+15550101", "status": "queued"}
ROWS = "SELECT count(*) AS rows, count(DISTINCT request_id) AS events FROM public.sms_events"
DAMAGED_FILES = 1000 if SOAK else 100


@pytest.fixture(autouse=True)
def _own_process(tmp_path: Path) -> Iterator[None]:
    yield
    tracking.configure(database_url="postgresql://x@127.0.0.1:9/x", spill_folder=tmp_path / "unused")


def tell(first: int, count: int, **more: Any) -> None:
    for n in range(first, first + count):
        tracking.track_sms_event(**SMS, request_id=f"r{n}", **more)


def wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def add_trigger(database: Database, body: str) -> None:
    database.run(
        f"CREATE FUNCTION public.theirs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NEW; END $$;"
        "CREATE TRIGGER theirs BEFORE INSERT ON public.sms_events FOR EACH ROW EXECUTE FUNCTION public.theirs()"
    )


@pytest.mark.parametrize(
    "code",
    ["raise_exception", "P0042", "insufficient_privilege", "undefined_table", "internal_error", "check_violation"],
)
def test_a_row_that_a_trigger_refuses_is_kept_and_written_when_it_may(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture, code: str
) -> None:
    how = f"ERRCODE = '{code}', MESSAGE = 'no text of ' || NEW.to_number"
    add_trigger(database, f"IF NEW.request_id IN ('r13', 'r77') THEN RAISE EXCEPTION USING {how}; END IF;")
    tracking.configure(database_url=database.url, spill_folder=tmp_path)
    with caplog.at_level(logging.WARNING):
        tell(0, 100)
        assert tracking.flush(10)
    assert database.rows(ROWS) == [{"rows": 98, "events": 98}]
    counts = tracking.counters()
    assert (counts.written, counts.rejected, counts.pending) == (98, 2, 0)
    assert "sms_events: 2 events were rejected, kept in sms_events.rejected" in caplog.text
    assert "555" not in caplog.text
    kept = tmp_path / "sms_events.rejected"
    assert kept.stat().st_mode & 0o777 == 0o600
    database.run("DROP TRIGGER theirs ON public.sms_events")
    kept.rename(tmp_path / "sms_events-again.journal")
    tracking.flush(10)
    assert database.rows(ROWS) == [{"rows": 100, "events": 100}]
    assert tracking.counters().damaged == 0
    assert not (tmp_path / "sms_events-again.journal").exists()


def test_a_row_that_a_policy_refuses_is_set_apart(database: Database, tmp_path: Path) -> None:
    database.run("DROP ROLE IF EXISTS theirs_app")
    database.run("CREATE ROLE theirs_app")
    database.run(
        "GRANT USAGE ON SCHEMA public, monitoring TO theirs_app; GRANT INSERT ON public.sms_events TO theirs_app"
    )
    database.run("GRANT SELECT ON public.sms_events TO theirs_app")
    database.run("GRANT EXECUTE ON FUNCTION monitoring.add_sms_events(jsonb) TO theirs_app")
    database.run("ALTER TABLE public.sms_events ENABLE ROW LEVEL SECURITY")
    database.run("CREATE POLICY readable ON public.sms_events FOR SELECT TO theirs_app USING (true)")
    database.run("CREATE POLICY theirs ON public.sms_events FOR INSERT TO theirs_app WITH CHECK (request_id <> 'r13')")
    try:
        tracking.configure(database_url=database.url + "?options=-c%20role%3Dtheirs_app", spill_folder=tmp_path)
        tell(0, 20)
        assert tracking.flush(10)
        assert database.rows(ROWS) == [{"rows": 19, "events": 19}]
        assert tracking.counters().rejected == 1
    finally:
        tracking.configure(database_url="postgresql://x@127.0.0.1:9/x", spill_folder=tmp_path / "unused")
        database.run("DROP OWNED BY theirs_app; DROP ROLE theirs_app")


def test_a_row_too_large_for_an_index_is_set_apart(database: Database, tmp_path: Path) -> None:
    database.run("CREATE INDEX theirs ON public.sms_events (error_message)")
    tracking.configure(database_url=database.url, spill_folder=tmp_path)
    noise = "".join(chr(c) for c in random.Random(2).sample(range(0x4E00, 0x9FFF), 15_000))
    tell(0, 10)
    tell(10, 1, error_message=noise)
    tell(11, 10)
    assert tracking.flush(10)
    assert database.rows(ROWS) == [{"rows": 20, "events": 20}]
    assert tracking.counters().rejected == 1


def test_a_table_that_is_missing_makes_only_its_own_events_wait(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    business = add_businesses(database, 1)[0]
    database.run("ALTER TABLE public.owner_alerts RENAME TO elsewhere")
    tracking.configure(database_url=database.url, spill_folder=tmp_path)
    alert: dict[str, Any] = {"owner_phone": "+15550103", "customer_phone": "+15550102", "alert_type": "missed_call"}
    with caplog.at_level(logging.WARNING):
        tracking.track_owner_alert(business_id=business, message_content="call back", **alert)
        tell(0, 1000)
        wait_until(lambda: database.rows(ROWS) == [{"rows": 1000, "events": 1000}])
        assert not tracking.flush(0.3)
    assert tracking.counters().pending == 1
    assert "events for owner_alerts wait: UndefinedTable (42P01)" in caplog.text
    database.run("ALTER TABLE public.elsewhere RENAME TO owner_alerts")
    assert tracking.flush(10)
    assert len(database.rows("SELECT FROM public.owner_alerts")) == 1


def test_a_missing_right_and_a_locked_table_make_only_their_own_events_wait(database: Database, tmp_path: Path) -> None:
    database.run("DROP ROLE IF EXISTS other_app")
    database.run("CREATE ROLE other_app")
    database.run("GRANT USAGE ON SCHEMA public, monitoring TO other_app")
    for right in ("call_events", "sms_events"):
        database.run(f"GRANT SELECT, INSERT ON public.{right} TO other_app")
        database.run(f"GRANT EXECUTE ON FUNCTION monitoring.add_{right}(jsonb) TO other_app")
        database.run(f"ALTER TABLE public.{right} DISABLE ROW LEVEL SECURITY")
    try:
        tracking.configure(database_url=database.url + "?options=-c%20role%3Dother_app", spill_folder=tmp_path)
        with database.server.connect(database.name) as other, other.transaction():
            other.execute("LOCK TABLE public.call_events")
            tracking.track_call_event(event_type="voice.missed", call_sid="CA1")
            tracking.track_openai_usage(endpoint="chat", tokens_used=5)
            tell(0, 10)
            wait_until(lambda: database.rows(ROWS) == [{"rows": 10, "events": 10}])
            assert tracking.counters().pending == 2
        assert not tracking.flush(1)
        assert tracking.counters().pending == 1
        assert tracking.counters().rejected == 0
    finally:
        tracking.configure(database_url=database.url, spill_folder=tmp_path)
        tracking.flush(10)
        database.run("DROP OWNED BY other_app; DROP ROLE other_app")
    assert database.rows("SELECT tokens_used FROM public.api_usage") == [{"tokens_used": 5}]


def test_damaged_files_cost_the_rows_that_were_hit_and_stop_no_writer(database: Database, tmp_path: Path) -> None:
    chance = random.Random(None if SOAK else 3)
    names, whole = [], set()
    for n in range(DAMAGED_FILES):
        journals = Journals(tmp_path, 10**7)
        told = [f"{n}-{at}" for at in range(20)]
        for at, name in enumerate(told):
            row = f'{{"id": "{UUID(int=n * 100 + at)}", "event_type": "voice.missed", "call_sid": "{name}"}}'
            assert journals.append("call_events", row.encode())
        file = journals.first_own("call_events")
        assert file is not None
        journals.release()
        before = file.path.read_bytes()
        after = bytearray(before)
        # The last one stays: only the number of a later record tells how many are missing.
        last = before.rindex(b"\x1e")
        first = chance.randrange(last)
        for at in range(first, min(first + chance.choice([1, 50, 1000]), last)):
            after[at] = 0 if n % 2 else after[at] ^ chance.randrange(1, 256)
        file.path.write_bytes(after)
        names += told
        lines = zip(before.split(b"\n"), bytes(after[: len(before)]).split(b"\n"), strict=False)
        whole |= {name for name, (one, other) in zip(told, lines, strict=False) if one == other}
    tracking.configure(database_url=database.url, spill_folder=tmp_path)
    tracking.track_call_event(event_type="voice.missed", call_sid="own")
    assert not tracking.flush(120), "something was damaged"
    found = [row["call_sid"] for row in database.rows("SELECT call_sid FROM public.call_events")]
    assert len(found) == len(set(found))
    assert {"own", *whole} <= set(found) <= {"own", *names}
    damaged = tracking.counters().damaged
    assert damaged == len(names) + 1 - len(found) > 0
    assert [path for path in tmp_path.glob("*.journal") if path.stat().st_size] == []
    (reported,) = database.rows("SELECT damaged, dropped_at FROM monitoring.tracking_writers")
    assert (reported["damaged"], reported["dropped_at"] is not None) == (damaged, True)


def test_a_process_that_never_stops_telling_reports_and_takes_over_all_the_same(
    database: Database, tmp_path: Path
) -> None:
    tracking.configure(database_url=database.url, spill_folder=tmp_path)
    is_over, left = threading.Event(), Journals(tmp_path, 10**6)

    def talk() -> None:
        while not is_over.is_set():
            tell(0, 1)

    speaker = threading.Thread(target=talk)
    speaker.start()
    try:
        wait_until(lambda: database.rows("SELECT FROM monitoring.tracking_writers"))
        row = '{"id": "00000000-0000-4000-8000-000000000007", "event_type": "voice.missed"}'
        assert left.append("call_events", row.encode())
        left.release()
        wait_until(lambda: database.rows("SELECT FROM public.call_events"))
    finally:
        is_over.set()
        speaker.join()
    assert tracking.flush(20)


def test_who_cannot_reach_a_database_leaves_files_of_ended_processes_to_others(tmp_path: Path) -> None:
    left, other = Journals(tmp_path, 10**6), Journals(tmp_path, 10**6)
    assert left.append("call_events", b"{}")
    left.release()
    tracking.configure(database_url="postgresql://x@127.0.0.1:9/x", spill_folder=tmp_path)
    tell(0, 1)
    assert not tracking.flush(0.3)
    other.take_over()
    assert other.first_taken("call_events") is not None
    assert other.first_taken("sms_events") is None
    other.release()


def test_the_thread_survives_what_nobody_expected_and_says_so(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = threading.Event()

    def fail(*_: Any) -> Any:
        broken.set()
        msg = "nobody expected +15550100"
        raise ZeroDivisionError(msg)

    monkeypatch.setattr(drain, "insert", fail)
    tracking.configure(database_url=database.url, spill_folder=tmp_path)
    with caplog.at_level(logging.WARNING):
        tell(0, 10)
        assert broken.wait(10)
        assert not tracking.flush(0.3)
    assert "events for sms_events wait: unexpected ZeroDivisionError" in caplog.text
    monkeypatch.undo()
    assert tracking.flush(20)
    assert database.rows(ROWS) == [{"rows": 10, "events": 10}]


def test_an_unwritable_folder_is_an_error_of_configure_and_none_of_an_event(database: Database, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be kept"):
        tracking.configure(database_url=database.url, spill_folder=tmp_path / "file")
    code = """
from smarttext_pipelines import tracking
for n in range(50): assert tracking.track_sms_event(from_="+15550100", to="+15550101", status="queued")
assert tracking.flush(20), tracking.counters()
counts = tracking.counters()
assert (counts.written, counts.buffered, counts.dropped) == (50, 50, 0), counts
"""
    environment = {**os.environ, "SMARTTEXT_DATABASE_URL": database.url, "SMARTTEXT_DATA_DIR": str(tmp_path / "file")}
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / ".smarttext").write_text("")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=environment, cwd=tmp_path / "here")
    assert len(database.rows("SELECT FROM public.sms_events")) == 50


@pytest.mark.parametrize("ending", ["tracking.flush(10); os._exit(0)", "sys.exit()"])
def test_what_a_process_of_a_second_rejects_is_reported(database: Database, tmp_path: Path, ending: str) -> None:
    code = f"""
import os, sys
from smarttext_pipelines import tracking
tracking.configure(database_url=sys.argv[1], spill_folder=sys.argv[2])
for n in range(5): tracking.track_openai_usage(endpoint="x", tokens_used=-1)
{ending}
"""
    subprocess.run([sys.executable, "-c", code, database.url, str(tmp_path)], check=True, timeout=60)
    (told,) = database.rows("SELECT accepted, rejected, rejected_at FROM monitoring.tracking_writers")
    assert (told["accepted"], told["rejected"], told["rejected_at"] is not None) == (0, 5, True)


def test_a_price_is_looked_up_by_who_writes_until_the_table_is_loaded(database: Database, tmp_path: Path) -> None:
    code = """
import sys
from smarttext_pipelines import tracking
tracking.configure(database_url=sys.argv[1], spill_folder=sys.argv[2])
for n in range(2):
    tracking.track_openai_usage(endpoint="chat", input_tokens=100, output_tokens=50, model="gpt-4o-mini")
    assert n or "genai_prices" not in sys.modules
    assert tracking.flush(20)
"""
    subprocess.run([sys.executable, "-c", code, database.url, str(tmp_path)], check=True, timeout=60)
    assert [str(row["cost_estimate"]) for row in database.rows("SELECT cost_estimate FROM public.api_usage")] == [
        "0.000045",
        "0.000045",
    ]


SIGNALS = """
import faulthandler, signal, sys
faulthandler.dump_traceback_later(150, exit=True)
from smarttext_pipelines import tracking
from smarttext_pipelines.tracking import process
from smarttext_pipelines.tracking.writer import Writer
told = main = 0
def handler(*_):
    global told
    tracking.track_call_event(event_type="voice.missed", call_sid=f"handler {told}")
    told += 1
    # The next comes after this one ended: on a slow machine they would be within each other for ever.
    signal.setitimer(signal.ITIMER_REAL, 0.0005)
def tell(count):
    global main
    for _ in range(count):
        tracking.track_call_event(event_type="voice.missed", call_sid=str(main))
        main += 1
signal.signal(signal.SIGALRM, handler)
"""


@pytest.mark.parametrize(
    "work",
    [
        pytest.param("tell(5000)", id="of 5,000"),
        pytest.param(
            """
signals = [signal.SIGALRM]
def make(options):
    while signals: signal.raise_signal(signals.pop())
    return Writer(options)
process.Writer = make
tell(3)
""",
            id="while the writer is made",
        ),
        pytest.param(
            "tracking.configure(database_url=sys.argv[1], spill_folder=sys.argv[2], synchronous=True); tell(30)",
            id="that waits until it is written",
        ),
    ],
)
def test_a_signal_handler_may_tell_events_in_the_middle_of_one(database: Database, tmp_path: Path, work: str) -> None:
    code = f"""{SIGNALS}
tracking.configure(database_url=sys.argv[1], spill_folder=sys.argv[2])
signal.setitimer(signal.ITIMER_REAL, 0.0005)
{work}
signal.signal(signal.SIGALRM, signal.SIG_IGN)
assert tracking.flush(30), tracking.counters()
print(main, told)
"""
    ran = subprocess.run([sys.executable, "-c", code, database.url, str(tmp_path)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    main, told = map(int, ran.stdout.split())
    assert told
    assert database.rows("SELECT count(*) AS n FROM public.call_events") == [{"n": main + told}]
