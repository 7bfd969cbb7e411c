"""Verdicts on the pipeline itself: pure judgements of what was read. Times are passed in."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

LATE_AFTER_INTERVALS = 2
SHORTEST_INTERVAL = timedelta(seconds=60)
"""What ticks more often is looked at only once a minute."""

WATCHER = ("sensor", "heartbeat_sensor")
"""Kind and name of the part that writes all heartbeats."""

MIN_GRACE, MAX_GRACE = timedelta(minutes=3), timedelta(hours=1)
"""What a part has at least and at most to tick again, when nothing was watched for a while."""

MIN_USUAL = 10
"""Events that a source must usually have in a window before none of them is called silence.

With a Poisson mean of 10, a window without any comes once in 22,000.
"""


class State(StrEnum):
    """A line's verdict, from best to worst; ``unknown`` is not counted as well."""

    ok = "ok"
    unknown = "unknown"
    warn = "warn"
    fail = "fail"


@dataclass(frozen=True)
class Line:
    """One line of the verdict.

    Attributes:
        name: What was looked at.
        state: Verdict.
        said: What was found.
        todo: What to do about it; empty when it is ok.
    """

    name: str
    state: State
    said: str
    todo: str = ""


@dataclass(frozen=True)
class Heartbeat:
    """When a part last succeeded.

    Attributes:
        kind: sensor, schedule, job or cycle.
        name: Its name.
        interval: How often it succeeds when all is well; None on demand.
        last_success_at: None when it never has.
        last_failure_at: None when it never has.
        watched_since: When it was first seen; of the watcher, since when it ticks without a pause.
    """

    kind: str
    name: str
    interval: timedelta | None
    last_success_at: datetime | None
    last_failure_at: datetime | None
    watched_since: datetime

    def late_by(self, now: datetime, awake_since: datetime | None = None) -> timedelta | None:
        """Return for how long it has been late; None when it is not.

        Args:
            now: Time of the verdict.
            awake_since: Since when somebody watches without a pause: after a restart of all, nothing has ticked yet.
        """
        if self.interval is None:
            return None
        allowed = LATE_AFTER_INTERVALS * max(self.interval, SHORTEST_INTERVAL)
        due = (self.last_success_at or self.watched_since) + allowed
        if awake_since is not None and (self.kind, self.name) != WATCHER:
            due = max(due, awake_since + min(max(allowed, MIN_GRACE), MAX_GRACE))
        return now - due if now > due else None

    def is_failing(self) -> bool:
        """Whether it has failed and not succeeded since."""
        failed, succeeded = self.last_failure_at, self.last_success_at
        return failed is not None and (succeeded is None or failed > succeeded)


@dataclass(frozen=True)
class Traffic:
    """Events of a source in the hours before now, and in the same hours of earlier weeks.

    Attributes:
        source: Table.
        hours: Length of the window.
        now_count: Events within it.
        weeks: Counts of the same hours one, two, … weeks ago, of the weeks that had any event in the table.
        newest_at: Its newest event.
    """

    source: str
    hours: int
    now_count: int
    weeks: Sequence[int]
    newest_at: datetime | None

    @property
    def usual(self) -> int:
        """The least of the earlier weeks."""
        return min(self.weeks, default=0)


def judge_heartbeats(beats: Iterable[Heartbeat], now: datetime) -> list[Line]:
    """Return a line for each part that is late or failing, or one that all are well."""
    beats = list(beats)
    awake_since = next((beat.watched_since for beat in beats if (beat.kind, beat.name) == WATCHER), None)
    lines = []
    for beat in beats:
        late = beat.late_by(now, awake_since)
        if late is not None:
            last = f"last succeeded {ago(beat.last_success_at, now)}" if beat.last_success_at else "never succeeded"
            every = f"is due every {shortly(beat.interval or timedelta(0))}"
            todo = "see that the daemon and the code server run, then its last tick or run in the UI"
            lines.append(Line(f"{beat.kind} {beat.name}", State.fail, f"{last}, {every}", todo))
        elif beat.is_failing():
            said = f"failed {ago(beat.last_failure_at, now)} and has not succeeded since"
            todo = "open its last tick or run in the UI; the first error in its log says what is missing"
            lines.append(Line(f"{beat.kind} {beat.name}", State.warn, said, todo))
    if lines:
        return lines
    if not beats:
        todo = "start the daemon: `smarttext up`, or dagster-daemon with the graph of this project"
        return [Line("heartbeats", State.warn, "nothing was ever recorded", todo)]
    return [Line("heartbeats", State.ok, f"{len(beats)} sensors, schedules and jobs are in time")]


def judge_traffic(traffic: Traffic, now: datetime) -> Line:
    """Return whether the silence of a source is unusual for this hour of the week."""
    name = f"source {traffic.source}"
    newest = f"newest event {ago(traffic.newest_at, now)}" if traffic.newest_at else "no event yet"
    if len(traffic.weeks) < 2:
        return Line(name, State.unknown, f"{newest}; two weeks of traffic say what is usual", "")
    if traffic.now_count == 0 and traffic.usual >= MIN_USUAL:
        said = f"no event for {traffic.hours} h, at least {traffic.usual} are usual at this time of the week; {newest}"
        todo = "see that the application runs and writes to this database, and its credentials"
        return Line(name, State.fail, said, todo)
    told = f"{traffic.now_count} in {traffic.hours} h, at least {traffic.usual} are usual"
    return Line(name, State.ok, f"{newest}; {told}")


def exit_code(lines: Iterable[Line]) -> int:
    """Return 0 when all is well, 1 when something should be looked at, 2 when something does not work."""
    states = {line.state for line in lines}
    return 2 if State.fail in states else 1 if State.warn in states else 0


def ago(at: datetime | None, now: datetime) -> str:
    """Return how long ago something was, in its largest unit."""
    return "never" if at is None else f"{shortly(max(now - at, timedelta(0)))} ago"


def shortly(length: timedelta) -> str:
    """Return a length of time in its largest unit."""
    seconds = length.total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
