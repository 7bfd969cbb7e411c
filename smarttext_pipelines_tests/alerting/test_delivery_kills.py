"""Nothing lost, nothing twice: delivering processes are killed, the provider faults, PostgreSQL restarts.

``make soak`` runs the long form: 500 notifications and 200 kills, a sender that is frozen for 90 s, and the delays of
production divided by 10 instead of 20.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from smarttext_pipelines.alerting.notify.message import Message
from smarttext_pipelines.alerting.notify.outbox import Enqueued, enqueue
from smarttext_pipelines.alerting.notify.timing import Timing
from smarttext_pipelines.database.connect import connected, open_engine
from smarttext_pipelines.database.embedded import EmbeddedServer, embedded_server
from smarttext_pipelines.database.embedded_process import _postmaster_pid
from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines_tests.conftest import SOAK
from smarttext_pipelines_tests.fakes.server import serving
from smarttext_pipelines_tests.fakes.slack import FakeSlack
from smarttext_pipelines_tests.fakes.twilio import FakeTwilio
from smarttext_pipelines_tests.fakes.worker import POINTS, numbers

LEASE, LEAST_LEFT, RECONCILE, LONGEST_WAIT = 1.6, 1.0, 0.9, 2.0
LAG = 0.5
"""Of the provider's list; below the lease and below the reconcile delay."""

PHONES = 10
NOTIFICATIONS, KILLS, RESTARTS = (500, 200, 2) if SOAK else (80, 50, 1)
WORKERS = 4
SCALE = 10 if SOAK else 20
CRITICAL, CRITICAL_KILLS, LONGEST_CRITICAL = 20, 15, 600 / SCALE
LONGEST = 600 if SOAK else 120


@dataclass
class Harness:
    """A database that can restart, two providers, and workers that can be killed."""

    stack: ExitStack
    folder: Path
    twilio: FakeTwilio
    slack: FakeSlack
    zygote: "subprocess.Popen[str]"
    server: EmbeddedServer
    look_up: bool = True
    timing: tuple[float, ...] = (LEASE, LEAST_LEFT, RECONCILE, LONGEST_WAIT)
    enqueued: int = 0
    killed_at: Counter[str] = field(default_factory=Counter)
    alive: list[int] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(11))

    @property
    def url(self) -> str:
        return self.server.url("postgres")

    def restart(self) -> None:
        """Crash PostgreSQL and start it again; its port changes."""
        pid = _postmaster_pid(self.server.data_directory)
        assert pid
        os.kill(pid, signal.SIGQUIT)
        self.server = self.stack.enter_context(embedded_server(self.folder))

    def start(self, **spec: Any) -> int:
        spec = {
            "database": self.url,
            "twilio": self.twilio.url,
            "slack": self.slack.url,
            "phones": PHONES,
            "timing": self.timing,
            "look_up": self.look_up,
            **spec,
        }
        assert self.zygote.stdin
        assert self.zygote.stdout
        self.zygote.stdin.write(json.dumps(spec) + "\n")
        self.zygote.stdin.flush()
        pid = int(self.zygote.stdout.readline())
        self.alive.append(pid)
        return pid

    def living(self) -> list[int]:
        self.alive = [pid for pid in self.alive if _lives(pid)]
        return self.alive

    def rows(self, query: str) -> list[Any]:
        with connected(open_engine(self.url)) as connection:
            return list(connection.exec_driver_sql(query))

    def kills(self) -> int:
        """Return how many workers were killed so far."""
        file = self.folder / "killed"
        named = Counter(file.read_text().split()) if file.exists() else Counter()
        self.killed_at |= named
        return self.killed_at.total()

    def enqueue(self, count: int) -> None:
        first = self.enqueued + 1
        self.enqueued += count
        targets = [("twilio_sms", phone) for phone in numbers(PHONES)] + [("slack", "C1")]
        items = [
            Enqueued(incident, 1, *targets[incident % len(targets)], _message(incident))
            for incident in range(first, first + count)
        ]
        with connected(open_engine(self.url)) as connection, connection.begin():
            enqueue(connection, items, deadline=timedelta(hours=1))

    def open(self) -> int:
        return int(
            self.rows("SELECT count(*) FROM monitoring.notifications WHERE status IN ('pending','sending','unknown')")[
                0
            ][0]
        )

    def arrived(self) -> Counter[str]:
        """Return how often each notification arrived, by its mark."""
        texts = [m["body"].rsplit("#", 1)[1] for m in self.twilio.messages]
        posts = [m["metadata"]["event_payload"]["tag"] for m in self.slack.messages.values()]
        return Counter(texts + posts)

    def finish(self) -> None:
        deadline = time.monotonic() + LONGEST
        while self.open():
            assert time.monotonic() < deadline, self.rows(
                "SELECT status, note, attempts FROM monitoring.notifications WHERE status <> 'sent' LIMIT 9"
            )
            while len(self.living()) < WORKERS:
                self.start()
            time.sleep(0.2)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _message(incident: int) -> Message:
    return Message("firing", incident, "sms_failure_rate", "critical", "Hartley Plumbing", "23 of 61 texts failed")


@pytest.fixture
def harness() -> Iterator[Harness]:
    with tempfile.TemporaryDirectory(prefix="smarttext-kills-") as folder:
        # The server's own user must be able to enter it when the tests run as root.
        Path(folder).chmod(0o755)
        with _harness(Path(folder)) as harness:
            yield harness


@contextmanager
def _harness(folder: Path) -> Iterator[Harness]:
    with ExitStack() as stack:
        twilio, slack = stack.enter_context(serving(FakeTwilio())), stack.enter_context(serving(FakeSlack()))
        for fake in (twilio, slack):
            fake.lag_seconds, fake.hang_seconds = LAG, 0.6
        server = stack.enter_context(embedded_server(folder))
        migrate(open_engine(server.url("postgres")), ZoneInfo("UTC"))
        command = [sys.executable, "-m", "smarttext_pipelines_tests.fakes.worker"]
        zygote = stack.enter_context(
            subprocess.Popen(
                command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
            )
        )
        harness = Harness(stack, folder, twilio, slack, zygote, server)
        try:
            yield harness
        finally:
            for pid in harness.living():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            assert zygote.stdin
            zygote.stdin.close()
            zygote.wait(10)


def _kill(harness: Harness) -> None:
    """Keep workers going, kill them at every named point and at random; restart PostgreSQL meanwhile."""
    restarts, until = 0, time.monotonic() + LONGEST
    wanted = {*POINTS, "at random"} - (set() if harness.look_up else {"looked_up"})
    while (kills := harness.kills()) < KILLS or not wanted <= set(harness.killed_at):
        assert time.monotonic() < until, harness.killed_at
        if restarts < RESTARTS and kills > (restarts + 1) * KILLS // (RESTARTS + 1):
            harness.restart()
            restarts += 1
        while len(harness.living()) < WORKERS:
            point = harness.chance.choice([*POINTS, None])
            harness.start(kill_at=point, nth=harness.chance.randint(1, 3), killed=str(harness.folder / "killed"))
        time.sleep(harness.chance.random() * 0.2)
        if harness.chance.random() < 0.5:
            with suppress(ProcessLookupError):
                os.kill(harness.chance.choice(harness.living() or [0x7FFFFFFF]), signal.SIGKILL)
                harness.killed_at["at random"] += 1
        if harness.open() < NOTIFICATIONS // 4:
            harness.enqueue(NOTIFICATIONS // 4)


def _run(harness: Harness) -> Counter[str]:
    for fake in (harness.twilio, harness.slack):
        fake.share, fake.look_up_share = 0.4, 0.1
    harness.enqueue(NOTIFICATIONS)
    _kill(harness)
    harness.finish()
    return harness.arrived()


def test_none_is_lost_and_none_is_repeated(harness: Harness) -> None:
    arrived = _run(harness)
    sent = {tag for (tag,) in harness.rows("SELECT tag FROM monitoring.notifications WHERE status = 'sent'")}
    lost = harness.rows("SELECT status, note, channel, attempts FROM monitoring.notifications WHERE status <> 'sent'")
    assert (len(sent), lost) == (harness.enqueued, [])
    assert set(arrived) == sent
    assert [tag for tag, times in arrived.items() if times > 1] == [], "repeated"
    assert set(harness.killed_at) == {*POINTS, "at random"}
    assert min(harness.twilio.met[fault] for fault in ("429", "500_stored", "500", "timeout_stored", "reset")) > 0


def test_the_slowest_critical_text_is_sent_within_ten_minutes(
    harness: Harness, record_property: Callable[[str, object], None]
) -> None:
    """The delays are those of production, divided; two workers follow each other as fast as they are killed."""
    standard = Timing()
    delays = (standard.lease, standard.least_left, standard.reconcile_delay, standard.longest_wait)
    harness.timing = tuple(delay.total_seconds() / SCALE for delay in delays)
    for fake in (harness.twilio, harness.slack):
        fake.share, fake.look_up_share = 0.4, 0.1
    harness.enqueue(CRITICAL)
    until = time.monotonic() + LONGEST
    while harness.kills() < CRITICAL_KILLS and harness.open():
        assert time.monotonic() < until, harness.killed_at
        while len(harness.living()) < 2:
            point = harness.chance.choice(POINTS)
            harness.start(kill_at=point, nth=harness.chance.randint(1, 3), killed=str(harness.folder / "killed"))
        time.sleep(0.05)
    harness.finish()
    ((slowest,),) = harness.rows(
        "SELECT extract(epoch FROM max(finished_at - created_at)) FROM monitoring.notifications"
    )
    record_property("slowest_critical_seconds", float(slowest) * SCALE)
    print(f"slowest {float(slowest) * SCALE:.0f} s, {harness.kills()} kills")  # noqa: T201
    assert slowest <= LONGEST_CRITICAL
    assert sorted(harness.arrived().values()) == [1] * CRITICAL


def test_without_the_look_up_the_same_harness_shows_repetitions(harness: Harness) -> None:
    harness.look_up = False
    arrived = _run(harness)
    assert len(arrived) == harness.enqueued, "lost"
    assert sum(times - 1 for times in arrived.values()) > 0


def test_a_frozen_sender_repeats_at_most_its_one_message(harness: Harness) -> None:
    harness.enqueue(20)
    frozen = harness.start(kill_at="confirmed", nth=3, stops=True)
    while not _is_stopped(frozen):
        time.sleep(0.02)
    harness.alive.remove(frozen)
    harness.finish()
    time.sleep(90 if SOAK else 0)
    os.kill(frozen, signal.SIGCONT)
    while _lives(frozen):
        time.sleep(0.02)
    arrived = harness.arrived()
    assert len(arrived) == 20
    assert sum(times - 1 for times in arrived.values()) <= 1


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"
