"""A replayed limit refuses the calls that the guard itself refuses, to the call."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smarttext_pipelines.budgets.limit_replay import Replay, ReplayedBusiness, replay_limit
from smarttext_pipelines.core.days import DayRange, day_start
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.guardrail import RESERVE, SETTLE, add_businesses

FIRST = date(2026, 3, 7)
DAYS = DayRange(FIRST, FIRST + timedelta(days=2))
"""The clocks of New York change on the second of them."""
_NOW = """
CREATE OR REPLACE FUNCTION monitoring.today() RETURNS date LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT monitoring.reporting_day(pg_catalog.current_setting('test.now')::timestamptz) $$
"""
_USE = """
INSERT INTO public.api_usage
    (id, service, endpoint, business_id, tokens_used, cost_estimate, created_at, reset_date, request_id)
VALUES (%s, 'openai', %s, %s, %s, %s, %s, monitoring.usage_date(%s), %s)
"""
_HELD = """
INSERT INTO monitoring.openai_reservations
    (request_id, business_id, day, tokens, endpoint, state, reserved_at, settled_at, actual_tokens)
VALUES (%s, %s, monitoring.reporting_day(%s), %s, 'chat', 'settled', %s, %s, %s)
"""


@dataclass(frozen=True)
class Drawn:
    """A row of the ledger as it is drawn.

    Attributes:
        who: Which business; 2 is none.
        minute: Minutes since the first day began.
        tokens: What it used; below zero nobody asked for it.
        beyond: By how much its reservation was higher; None where it had none.
        usd: Its cost; None or 0 is none.
        to: Which customer was texted; None for nobody.
        is_marker: Whether it is the marker of a reset.
        is_timeless: Whether only its day is known.
    """

    who: int
    minute: int
    tokens: int
    beyond: int | None
    usd: Decimal | None
    to: int | None
    is_marker: bool
    is_timeless: bool


DRAWN = st.builds(
    Drawn,
    # Mostly one business on one day: a refused call matters to the ones after it.
    who=st.sampled_from([0, 0, 0, 0, 1, 2]),
    minute=st.one_of(st.integers(600, 900), st.integers(600, 900), st.integers(0, 3 * 1440 - 61)),
    tokens=st.one_of(st.integers(0, 60), st.integers(-20, 0)),
    beyond=st.one_of(st.none(), st.integers(-5, 20)),
    usd=st.sampled_from([None, Decimal(0), Decimal("0.5"), Decimal("0.000001")]),
    to=st.one_of(st.none(), st.integers(0, 3)),
    is_marker=st.sampled_from([False] * 9 + [True]),
    is_timeless=st.sampled_from([False] * 9 + [True]),
)


@dataclass(frozen=True)
class Request:
    """A row of the ledger, and how it would ask the guard."""

    id: UUID
    request_id: str
    business: UUID | None
    at: datetime
    drawn: Drawn

    @property
    def asks(self) -> bool:
        return not self.drawn.is_marker and self.drawn.tokens >= 0

    @property
    def bound(self) -> int:
        return max(self.drawn.tokens + (self.drawn.beyond or 0), 0)


def requests_of(drawn: Sequence[Drawn], businesses: Sequence[UUID | None], zone: ZoneInfo) -> list[Request]:
    """Return the rows in the order in which they are replayed: those without a time come first."""
    found = []
    for place, each in enumerate(drawn):
        request_id, start = f"r{place}", day_start(FIRST, zone)
        at = start + timedelta(minutes=each.minute)
        if each.is_timeless:
            at = day_start(at.astimezone(zone).date(), zone)
        booked = each.beyond is not None and each.tokens >= 0 and not each.is_marker
        digest = hashlib.md5(f"{'smarttext:openai:' if booked else ''}{request_id}".encode(), usedforsecurity=False)
        found.append(Request(UUID(digest.hexdigest()), request_id, businesses[each.who], at, each))
    days = {request.id: request.at.astimezone(zone).date() for request in found}
    return sorted(found, key=lambda r: (days[r.id], not r.drawn.is_timeless, r.at, r.id))


def record(connection: psycopg.Connection, request: Request) -> None:
    """Write a row as an application wrote it, with its reservation and the texts that followed from it."""
    d = request.drawn
    if d.beyond is not None and request.asks:
        values = [request.request_id, request.business, request.at, request.bound, request.at, request.at, d.tokens]
        connection.execute(_HELD, values)
    use(connection, request)
    if d.to is not None:
        for number in (f"+1555000000{d.to}", f"whatsapp:+1 555 000-000{d.to}"):
            connection.execute(
                "INSERT INTO public.sms_events (from_number, to_number, status, request_id, created_at) "
                "VALUES ('+15550009999', %s, 'sent', %s, %s)",
                [number, request.request_id, request.at + timedelta(seconds=2)],
            )


def use(connection: psycopg.Connection, request: Request) -> None:
    d, at = request.drawn, None if request.drawn.is_timeless else request.at
    endpoint = "daily_reset" if d.is_marker else "chat"
    values = [request.id, endpoint, request.business, d.tokens, d.usd, at, request.at, request.request_id]
    connection.execute(_USE, values)


def refused_by_the_guard(connection: psycopg.Connection, requests: Sequence[Request], limit: int) -> set[UUID]:
    """Let every call ask the real guard, and settle what it used; return which ones it refused."""
    connection.execute("DELETE FROM monitoring.openai_limits")
    connection.execute(
        "INSERT INTO monitoring.openai_limits (scope, name, limit_tokens) VALUES ('default', '', %s)", [limit]
    )
    refused = set()
    for request in requests:
        connection.execute("SELECT set_config('test.now', %s, false)", [request.at.isoformat()])
        if not request.asks:
            use(connection, request)
            continue
        row = connection.execute(RESERVE, [request.business, request.bound, request.request_id]).fetchone()
        if row and row[0]:
            connection.execute(SETTLE, [request.request_id, request.drawn.tokens, request.drawn.usd])
        else:
            refused.add(request.id)
    return refused


def told(requests: Sequence[Request], refused: set[UUID], zone: ZoneInfo) -> dict[UUID | None, tuple[object, ...]]:
    """Return what is to be said of each business: calls, refusals, days, tokens, USD, unpriced, customers, nobody."""
    groups: dict[UUID | None, list[Request]] = defaultdict(list)
    for request in requests:
        if request.asks:
            groups[request.business].append(request)
    found: dict[UUID | None, tuple[object, ...]] = {}
    for business, asked in groups.items():
        lost = [r for r in asked if r.id in refused]
        found[business] = (
            len(asked),
            len(lost),
            len({r.at.astimezone(zone).date() for r in lost}),
            sum(r.drawn.tokens for r in lost),
            sum((r.drawn.usd or Decimal(0) for r in lost), start=Decimal(0)),
            sum(1 for r in lost if not r.drawn.usd and r.drawn.tokens),
            len({r.drawn.to for r in lost} - {None}),
            sum(1 for r in lost if r.drawn.to is None),
        )
    return found


def said(each: ReplayedBusiness) -> tuple[object, ...]:
    return (
        each.calls, each.refused, each.days_refused, each.refused_tokens, each.saved_usd, each.unpriced,
        each.customers, each.without_text,
    )  # fmt: skip


def replayed(database: Database, limit: int, **options: object) -> Replay:
    with database.engine.connect() as connection:
        return replay_limit(connection, limit, DAYS, **options)  # type: ignore[arg-type]


@pytest.fixture
def businesses(database: Database) -> list[UUID | None]:
    database.run(_NOW)
    return [*add_businesses(database, 2), None]


@given(
    drawn=st.lists(DRAWN, min_size=5, max_size=40),
    limit=st.integers(0, 150),
    zone=st.sampled_from(["UTC", "America/New_York", "Asia/Kolkata", "Pacific/Auckland"]),
    written_in=st.sampled_from([None, "UTC", "America/Los_Angeles"]),
)
@settings(max_examples=60)
def test_what_a_limit_would_have_refused_is_what_the_guard_refuses(
    database: Database,
    businesses: list[UUID | None],
    drawn: list[Drawn],
    limit: int,
    zone: str,
    written_in: str | None,
) -> None:
    if written_in:
        # The day of a row without a time is that of another zone: nobody can tell its reporting day.
        drawn = [Drawn(**{**vars(each), "is_timeless": False}) for each in drawn]
    requests = requests_of(drawn, businesses, ZoneInfo(zone))
    with database.server.connect(database.name) as connection:
        connection.execute("SELECT set_config('test.now', '2026-03-07 12:00Z', false)")
        connection.execute(
            "UPDATE monitoring.installation SET reporting_timezone = %s, reset_date_zone = %s", [zone, written_in]
        )
        connection.execute("TRUNCATE public.api_usage, public.sms_events, monitoring.openai_reservations")
        for request in requests:
            record(connection, request)
        found = {each.business_id: said(each) for each in replayed(database, limit).businesses}
        connection.execute("TRUNCATE public.api_usage, monitoring.openai_reservations, monitoring.openai_budgets")
        refused = refused_by_the_guard(connection, requests, limit)
    assert found == told(requests, refused, ZoneInfo(zone))


def test_a_smaller_call_after_a_refused_one_still_passes(database: Database, businesses: list[UUID | None]) -> None:
    noon = datetime(2026, 3, 7, 12, tzinfo=UTC)
    drawn = [Drawn(0, n, tokens, None, Decimal(1), n, False, False) for n, tokens in enumerate((60, 50, 40))]
    with database.server.connect(database.name) as connection:
        connection.execute("SELECT set_config('test.now', %s, false)", [noon.isoformat()])
        for request in requests_of(drawn, businesses, ZoneInfo("UTC")):
            record(connection, request)
    (found,) = replayed(database, 100).businesses
    assert (found.refused, found.refused_tokens, found.customers, found.saved_usd) == (1, 50, 1, Decimal(1))


def test_only_the_businesses_of_a_plan_are_replayed(database: Database, businesses: list[UUID | None]) -> None:
    database.run("UPDATE public.businesses SET subscription_tier = 'pro' WHERE id = %s", businesses[1])
    with database.server.connect(database.name) as connection:
        connection.execute("SELECT set_config('test.now', '2026-03-07 12:00Z', false)")
        drawn = [Drawn(who, who, 60, None, None, None, False, False) for who in range(3)]
        for request in requests_of(drawn, businesses, ZoneInfo("UTC")):
            record(connection, request)
    assert [each.business_id for each in replayed(database, 10, plan="pro").businesses] == [businesses[1]]
    assert [each.business_id for each in replayed(database, 10, business=businesses[0]).businesses] == [businesses[0]]
    assert replayed(database, 10).total.refused == 3


def test_days_whose_usage_is_only_in_the_archive_are_named(database: Database) -> None:
    database.run(
        "INSERT INTO monitoring.archive_segments (id, table_name, day, seq, state, min_at, max_at) "
        "VALUES (gen_random_uuid(), 'api_usage', '2026-03-07', 1, 'deleted', '2026-03-07 01:00Z', '2026-03-07 23:00Z')"
    )
    assert replayed(database, 10).archived_days == (date(2026, 3, 7),)


Command = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    "arguments",
    [
        ["replay"],
        ["replay", "--tokens", "-1"],
        ["replay", "--tokens", "5", "--plan", "no such plan"],
        ["replay", "--tokens", "5", "--plan", ""],
        ["replay", "--tokens", "5", "--business", "nobody"],
        ["replay", "--tokens", "5", "--from", "2026-03-01"],
        ["replay", "--tokens", "5", "--from", "yesterday", "--to", "2026-03-01"],
        ["propose", "--business", "nobody"],
    ],
    ids=" ".join,
)
def test_a_mistake_is_one_line(database: Database, smarttext: Command, arguments: list[str]) -> None:
    code, out, error = smarttext("budgets", *arguments)
    assert (code, out) == (2, "")
    assert "Traceback" not in error
