"""One polling run: what is due, in portions; each answer is written before the next request.

However a run ends, the next one asks for what has not been answered.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine
from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client

from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.twilio.append import append_reports, count_unnamed, require_tables
from smarttext_pipelines.twilio.poll import PAGE_SIZE, Asker, BudgetSpentError, Report, as_refused
from smarttext_pipelines.twilio.refused_rows import count_refused, read_refused
from smarttext_pipelines.twilio.waiting import Waiting, count_due, forget_old, read_due, record_asked

MAX_CALLS = 600
"""Requests of one run; with the longest answers that is still within the interval of the schedule."""

MAX_DUE = 100_000
MIN_TO_LIST = 4
"""Fewer messages than that are fetched one by one: a page of others costs as much as each of them."""

MAX_EMPTY_PAGES = 3
"""Pages without a message that is looked for, after which the rest is fetched one by one."""

LONGEST_PORTION = timedelta(hours=6)
SENT_BEFORE_RECORDED, SENT_AFTER_RECORDED = timedelta(minutes=2), timedelta(minutes=10)
"""How far Twilio's time of sending is from ours; a message outside is fetched on its own."""


@dataclass(frozen=True)
class Fetched:
    """What a run did.

    Attributes:
        counts: due, answered, statuses_written, prices_written, other_currency, unknown_to_twilio, unnamed_sids, calls,
            calls_repeated, refused_rows (kept, and tried again after an hour).
        ended_early: Why the run stopped before everything due was asked for; None when it did not.
    """

    counts: Mapping[str, int]
    ended_early: str | None = None


def count_waiting(engine: Engine, now: datetime) -> int:
    """Return how many messages are due to be asked for, and refused rows to be tried again."""
    with connected(engine) as connection:
        return count_due(connection, now) + count_refused(connection, now)


def fetch_reports(
    engine: Engine,
    client: Client,
    *,
    now: datetime,
    shared_senders: Sequence[str] = (),
    max_calls: int = MAX_CALLS,
    sleep: Callable[[float], None] = time.sleep,
) -> Fetched:
    """Ask Twilio for everything that is due, and append what it says.

    Args:
        engine: Result of ``open_engine``.
        client: Result of ``build_twilio_client``.
        now: Time of the fetch.
        shared_senders: Numbers that identify no business.
        max_calls: Requests after which the run ends.
        sleep: How to wait.

    Raises:
        SmartTextError: Twilio refuses the credentials, or the request for good.
    """
    run = _Run(engine, Asker(client, max_calls=max_calls, sleep=sleep), now, shared_senders)
    run.retry()
    with connected(engine) as connection, connection.begin():
        forget_old(connection, now)
        due = read_due(connection, now, max_rows=MAX_DUE)
    run.counts["due"] = len(due)
    run.left = {each.sid for each in due}
    ended_early = None
    try:
        for portion in portions(due):
            run.ask(portion)
    except BudgetSpentError as error:
        ended_early = str(error)
    except TwilioRestException as error:
        raise as_refused(error) from None
    run.counts.update(calls=run.asker.calls, calls_repeated=run.asker.repeated)
    return Fetched(dict(run.counts), ended_early)


def portions(due: Sequence[Waiting]) -> list[list[Waiting]]:
    """Return what is due, in order of time, in portions that one list can answer."""
    found: list[list[Waiting]] = []
    for each in due:
        last = found[-1] if found else []
        if last and len(last) < PAGE_SIZE and each.first_at - last[0].first_at <= LONGEST_PORTION:
            last.append(each)
        else:
            found.append([each])
    return found


@dataclass
class _Run:
    engine: Engine
    asker: Asker
    now: datetime
    shared_senders: Sequence[str]

    def __post_init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.left: set[str] = set()

    def retry(self) -> None:
        """Write again what a table refused in an earlier run."""
        with connected(self.engine) as connection, connection.begin():
            require_tables(connection)
            refused = read_refused(connection, self.now)
            done = append_reports(connection, refused, now=self.now, shared_senders=self.shared_senders)
        self.counts.update(statuses_written=done.statuses, prices_written=done.prices, refused_rows=done.refused)

    def ask(self, portion: Sequence[Waiting]) -> None:
        """Ask for a portion: by pages as long as they bring anything, then one by one."""
        missing = [each for each in portion if each.sid in self.left]
        if len(missing) >= MIN_TO_LIST:
            self._list(missing)
        for each in missing:
            if each.sid in self.left:
                report = self.asker.fetch(each.sid)
                self.counts["unknown_to_twilio"] += report is None
                self._write([report] if report else [], [each.sid])

    def _list(self, missing: Sequence[Waiting]) -> None:
        sids, empty = {each.sid for each in missing}, 0
        after, before = missing[0].first_at - SENT_BEFORE_RECORDED, missing[-1].first_at + SENT_AFTER_RECORDED
        for page in self.asker.pages(after, before):
            found = [report for report in page if report.sid in self.left]
            others = [report.sid for report in page if report.sid not in self.left and report.is_outbound]
            self._write(found, [report.sid for report in found], others)
            empty = 0 if found else empty + 1
            if len(sids & self.left) < MIN_TO_LIST or empty == MAX_EMPTY_PAGES:
                return

    def _write(self, reports: Sequence[Report], asked: Sequence[str], others: Sequence[str] = ()) -> None:
        with connected(self.engine) as connection, connection.begin():
            done = append_reports(connection, reports, now=self.now, shared_senders=self.shared_senders)
            record_asked(connection, asked, self.now)
            unnamed = count_unnamed(connection, others)
        self.left -= set(asked)
        self.counts.update(
            answered=len(asked),
            statuses_written=done.statuses,
            prices_written=done.prices,
            other_currency=done.other_currency,
            refused_rows=done.refused,
            unnamed_sids=unnamed,
        )
