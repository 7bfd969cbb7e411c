"""A terminal and the sensor evaluate and deliver at once and are killed: nothing is lost, nothing is told twice."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from smarttext_pipelines.alerting.signals import tell_signal
from smarttext_pipelines_tests.conftest import SOAK, Database
from smarttext_pipelines_tests.fakes.alerting_process import POINTS
from smarttext_pipelines_tests.fakes.server import serving
from smarttext_pipelines_tests.fakes.slack import FakeSlack
from smarttext_pipelines_tests.fakes.twilio import FakeTwilio

LEASE, LEAST_LEFT, RECONCILE, LONGEST_WAIT, LAG = 2.5, 1.5, 1.2, 2.0, 0.5
INCIDENTS, KILLS, EACH = (60, 120, 2) if SOAK else (6, 12, 1)
KINDS = ("terminal", "sensor")
AT_ONCE = 3
"""Incidents that begin, or end, and are not told yet: more than five of a rule in one evaluation would be a group."""

SENT_FOR_A_KILL = 4
"""At random somebody is killed whenever so many more were sent: by the clock, a slow machine would get nowhere."""

LONGEST = 1800 if SOAK else 600
PHONES = ("+15551000001", "+15551000002")
RULES = """
rules:
  pipeline_failures:
    metric: pipeline_failures
    scope: pipeline
    threshold: 1
    severity: critical
    keep_firing_for: 0m
"""


@dataclass
class Crowd:
    """What evaluates and delivers, and who is told."""

    database: Database
    twilio: FakeTwilio
    slack: FakeSlack
    zygote: "subprocess.Popen[str]"
    killed: Path
    alive: dict[int, str] = field(default_factory=dict)
    at_random: int = 0
    chance: random.Random = field(default_factory=lambda: random.Random(5))

    def keep_going(self, points: Collection[str] = ()) -> None:
        """Have processes of each kind; each kills itself at one of the points, where there are any."""
        self.alive = {pid: kind for pid, kind in self.alive.items() if Path(f"/proc/{pid}").exists()}
        assert self.zygote.stdin
        assert self.zygote.stdout
        for kind in KINDS:
            for _ in range(EACH - list(self.alive.values()).count(kind)):
                point = self.chance.choice(sorted(points)) if points else None
                spec = {"kind": kind, "kill_at": point, "nth": 1, "killed": str(self.killed)}
                self.zygote.stdin.write(json.dumps(spec) + "\n")
                self.zygote.stdin.flush()
                self.alive[int(self.zygote.stdout.readline())] = kind

    def kill_one(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.chance.choice(list(self.alive)), signal.SIGKILL)
            self.at_random += 1

    @property
    def kills(self) -> Counter[str]:
        return Counter(self.killed.read_text().split() if self.killed.exists() else [])

    def tell(self, number: int, value: int) -> None:
        with self.database.engine.begin() as connection:
            tell_signal(connection, "pipeline_failures", f"run:job_{number}", value, "the reason")

    def states(self) -> dict[str, str]:
        rows = self.database.rows("SELECT scope, state FROM monitoring.incidents ORDER BY id")
        return {row["scope"].removeprefix("run:job_"): row["state"] for row in rows}

    def open(self) -> int:
        waiting = "SELECT 1 FROM monitoring.notifications WHERE status IN ('pending', 'sending', 'unknown')"
        return len(self.database.rows(waiting))

    def arrived(self) -> Counter[str]:
        """Return how often each notification arrived, by its mark."""
        texts = [m["body"].rsplit("#", 1)[1] for m in self.twilio.messages]
        return Counter(texts + [m["metadata"]["event_payload"]["tag"] for m in self.slack.messages.values()])


@pytest.fixture
def crowd(database: Database, tmp_path: Path) -> Iterator[Crowd]:
    (tmp_path / "rules.yaml").write_text(RULES)
    with ExitStack() as stack:
        twilio, slack = stack.enter_context(serving(FakeTwilio())), stack.enter_context(serving(FakeSlack()))
        for fake in (twilio, slack):
            fake.lag_seconds, fake.hang_seconds = LAG, 0.3
        settings = {
            "SMARTTEXT_DATABASE_URL": database.url,
            "SMARTTEXT_DATA_DIR": str(tmp_path),
            "SMARTTEXT_ALERT_RULES": str(tmp_path / "rules.yaml"),
            "SMARTTEXT_ALERT_PHONES": ",".join(PHONES),
            "SMARTTEXT_ALERT_TEXTS_PER_HOUR": "1000",
            "SMARTTEXT_TWILIO_BASE_URL": twilio.url,
            "SMARTTEXT_SLACK_BASE_URL": f"{slack.url}/api/",
            "SLACK_BOT_TOKEN": "xoxb",
            "SLACK_CHANNEL": "C1",
            "TWILIO_ACCOUNT_SID": "AC0",
            "TWILIO_AUTH_TOKEN": "token",
            "TWILIO_PHONE_NUMBER": "+15550000000",
        }
        zygote = stack.enter_context(_zygote(tmp_path, settings))
        crowd = Crowd(database, twilio, slack, zygote, tmp_path / "killed")
        stack.callback(_end, crowd)
        yield crowd


@contextmanager
def _zygote(folder: Path, settings: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "smarttext_pipelines_tests.fakes.alerting_process"]
    delays = json.dumps([LEASE, LEAST_LEFT, RECONCILE, LONGEST_WAIT, RECONCILE])
    environment = {**os.environ, **settings, "PYTHONPATH": str(Path(__file__).parents[2])}
    with (
        (folder / "errors").open("w") as errors,
        subprocess.Popen(
            [*command, delays], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, cwd=folder,
            env=environment,
        ) as zygote,
    ):  # fmt: skip
        assert zygote.stdout
        assert zygote.stdout.readline() == "ready\n", (folder / "errors").read_text()[-2000:]
        try:
            yield zygote
        finally:
            zygote.kill()


def _end(crowd: Crowd) -> None:
    for pid in crowd.alive:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _wanted(crowd: Crowd) -> set[str]:
    """Return at which points nobody was killed yet, and by which kind of process none."""
    found = crowd.kills
    points = {point for point in POINTS if not any(found[f"{kind}.{point}"] for kind in KINDS)}
    return points | {kind for kind in KINDS if not any(name.startswith(kind) for name in found)}


def test_a_terminal_and_the_sensor_at_once_lose_nothing_and_repeat_nothing(crowd: Crowd) -> None:
    for fake in (crowd.twilio, crowd.slack):
        fake.share, fake.look_up_share = 0.2, 0.1
    until, begun, ended = time.monotonic() + LONGEST, 0, set[str]()
    crowd.keep_going()
    while not crowd.database.rows("SELECT FROM monitoring.rule_states"):
        assert time.monotonic() < until, "nobody evaluates"
        time.sleep(0.1)
    while len(ended) < INCIDENTS or crowd.kills.total() + crowd.at_random < KILLS or _wanted(crowd):
        assert time.monotonic() < until, (crowd.kills, crowd.states())
        crowd.keep_going({point for point in _wanted(crowd) if point in POINTS} or POINTS)
        states = crowd.states()
        if begun - len(states) < AT_ONCE:
            begun += 1
            crowd.tell(begun, 1)
        _end_one(crowd, states, ended)
        sent = len(crowd.database.rows("SELECT FROM monitoring.notifications WHERE status = 'sent'"))
        if sent >= (crowd.at_random + 1) * SENT_FOR_A_KILL:
            crowd.kill_one()
        time.sleep(0.1)
    while crowd.open() or list(crowd.states().values()) != ["resolved"] * begun:
        assert time.monotonic() < until, crowd.states()
        crowd.keep_going()
        _end_one(crowd, crowd.states(), ended)
        time.sleep(0.2)
    _require_once(crowd)


def _end_one(crowd: Crowd, states: Mapping[str, str], ended: set[str]) -> None:
    """Repair what fires, unless a few that were repaired are not over yet: more at once would end as a group."""
    firing = [number for number, state in states.items() if state == "firing" and number not in ended]
    if firing and sum(states[number] != "resolved" for number in ended) < AT_ONCE:
        ended.add(number := crowd.chance.choice(firing))
        crowd.tell(int(number), 0)


def _require_once(crowd: Crowd) -> None:
    """Every incident was told to everybody once, and once that it is over; each notice arrived once."""
    rows: list[dict[str, Any]] = crowd.database.rows("SELECT * FROM monitoring.notifications")
    assert [row for row in rows if row["status"] != "sent"] == []
    told = Counter((row["incident_id"], row["kind"], row["channel"], row["recipient"]) for row in rows)
    incidents = crowd.database.rows("SELECT id, scope FROM monitoring.incidents")
    assert len({row["scope"] for row in incidents}) == len(incidents), "an incident began twice"
    assert set(told.values()) == {1}
    assert len(told) == len(incidents) * 2 * (len(PHONES) + 1)
    arrived = crowd.arrived()
    assert set(arrived) == {row["tag"] for row in rows}
    assert [tag for tag, times in arrived.items() if times > 1] == [], "repeated"
