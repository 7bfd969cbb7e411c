"""Lists and the digest do not grow with the rows: as many statements for many times of them, and none reads events."""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from smarttext_pipelines.cli.main import run
from smarttext_pipelines_tests.cli.shown import DAY, SHOWS, fill
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database

_DATE = ("--date", str(DAY))
OF_FACTS: tuple[tuple[str, ...], ...] = (
    ("digest", *_DATE), ("digest", *_DATE, "--week"), ("stats", *_DATE), ("alerts", "list"),
    ("alerts", "list", "--all"), ("alerts", "why", "1"), ("alerts", "silences"), ("anomalies", "list", *_DATE),
    ("anomalies", "marks"),
    ("economics", "--month", "2026-03"), ("budgets", "propose", "--from", "2026-03-14", "--to", str(DAY)),
)  # fmt: skip
"""Commands that read what was rolled up, incidents and the like."""

OTHERS = ("budgets show", "alerts show", "customers suppressions", "retention status", "access", "report", "doctor")
EVENTS = re.compile(r"\b(sms_events|call_events|owner_alerts|api_usage)\b")
_MORE = """
    INSERT INTO public.businesses (id, name)
    SELECT md5('more' || n)::uuid, 'More ' || n FROM generate_series(1, 60) AS n;
    INSERT INTO public.daily_stats (business_id, date, messages_sent, sms_success_count, calls_total, calls_missed)
    SELECT b.id, d::date, 4, 4, 3, 1
    FROM public.businesses AS b, generate_series('2026-03-14'::date, '2026-03-16', interval '1 day') AS d
    WHERE b.name LIKE 'More %';
    INSERT INTO monitoring.missed_call_replies (id, day, business_id, reply_minutes, replied_in_time_count,
                                                replied_late_count, unreplied_count, reply_unknown_count)
    SELECT gen_random_uuid(), '2026-03-16', b.id, 5, 0, 0, 1, 0 FROM public.businesses AS b WHERE b.name LIKE 'More %';
    INSERT INTO monitoring.incidents (rule, scope, business_id, state, severity, since, fired_at, evaluated_at)
    SELECT 'sms_failure_rate', 'business:' || b.id, b.id, 'firing', 'warning', '2026-03-16 12:00+00',
           '2026-03-16 12:00+00', now()
    FROM public.businesses AS b WHERE b.name LIKE 'More %';
    INSERT INTO monitoring.silences (rule, scope, author, reason, ends_at)
    SELECT 'sms_failure_rate', 'business:' || b.id, 'Ann', 'known', now() + interval '1 day'
    FROM public.businesses AS b WHERE b.name LIKE 'More %';
    INSERT INTO monitoring.anomalies (day, metric, business_id, side, window_days, found, expected, low, high, nats)
    SELECT '2026-03-16', 'texts_failed', b.id, 1, 1, 24, 2, 0, 6, 30 FROM public.businesses AS b
    WHERE b.name LIKE 'More %';
    INSERT INTO public.sms_events (id, message_sid, from_number, to_number, business_id, status, created_at)
    SELECT gen_random_uuid(), 'SMmore' || n, '+15557770001', '+1555777' || (1000 + n), b.id, 'failed',
           '2026-03-16 11:41+00' FROM generate_series(1, 30) AS n, public.businesses AS b WHERE b.name LIKE 'More %';
"""
"""Many times the businesses, incidents, silences, anomalies and texts that there were."""


@contextmanager
def _statements() -> Iterator[list[str]]:
    """Keep what is sent to the database."""
    sent: list[str] = []

    def keep(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    event.listen(Engine, "before_cursor_execute", keep)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", keep)


@pytest.fixture(scope="module")
def small_and_grown(
    server: Server, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Database, Database, Path]]:
    folder = tmp_path_factory.mktemp("growth")
    with fresh_database(server, template) as small:
        fill(small, folder)
        small.engine.dispose()
        with fresh_database(server, small.name) as grown:
            grown.run(_MORE)
            yield small, grown, folder


@pytest.fixture
def sent(
    small_and_grown: tuple[Database, Database, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[list[str], list[str]]]:
    """Run a command on both databases; give the statements of each."""
    *databases, folder = small_and_grown
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SMARTTEXT_ARCHIVE_URL", str(folder / "archive"))
    monkeypatch.setenv("SMARTTEXT_DATA_DIR", str(folder / "data"))

    def call(*words: str) -> tuple[list[str], list[str]]:
        told = []
        for database in databases:
            monkeypatch.setenv("SMARTTEXT_DATABASE_URL", database.url)
            monkeypatch.setattr(sys, "argv", ["smarttext", *words])
            with _statements() as statements:
                try:
                    code = run()
                except SystemExit as stop:
                    code = int(stop.code or 0)
            said = capsys.readouterr()
            assert code in (0, 1, 3) or words[0] == "doctor", said.err
            told.append(statements)
        return told[0], told[1]

    return call


@pytest.mark.parametrize("words", [*OF_FACTS, *((*n.split(), *SHOWS[n][0]) for n in OTHERS)], ids=" ".join)
def test_as_many_statements_are_sent_for_many_times_the_rows(
    words: tuple[str, ...], sent: Callable[..., tuple[list[str], list[str]]]
) -> None:
    small, grown = sent(*words)
    assert small
    assert len(grown) == len(small)


@pytest.mark.parametrize("words", OF_FACTS, ids=" ".join)
def test_lists_and_the_digest_of_a_day_that_is_over_read_no_event(
    words: tuple[str, ...], sent: Callable[..., tuple[list[str], list[str]]]
) -> None:
    reading = [statement for statement in sent(*words)[0] if EVENTS.search(_without_texts(statement))]
    assert not reading, reading


def _without_texts(statement: str) -> str:
    """Return a statement without its literals: days are recorded by the name of the table that they were read from."""
    return re.sub(r"'[^']*'", "''", statement)
