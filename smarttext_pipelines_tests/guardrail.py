"""What tests and benchmarks of the OpenAI guardrail share: the ledger summed by hand, and a crowd of clients."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import psycopg

from smarttext_pipelines_tests.conftest import Database

LEDGER = """
SELECT day::text, business_id, sum(tokens) AS tokens, sum(usd)::numeric(40, 9) AS usd FROM (
    SELECT d.day, u.business_id, coalesce(u.tokens_used, 0)::numeric AS tokens,
           CASE WHEN u.cost_estimate > 0 AND u.cost_estimate < 1e13 THEN u.cost_estimate
                WHEN coalesce(u.tokens_used, 0) <= 0 OR u.endpoint = 'daily_reset' THEN 0
                WHEN u.tokens_used <= r.tokens THEN r.held_usd
                WHEN r.tokens > 0 THEN ceil(r.held_usd * u.tokens_used / r.tokens * 1000000) / 1000000
                ELSE u.tokens_used * coalesce(p.price, (SELECT max(upper_nano_usd_per_token)
                                                        FROM monitoring.openai_prices WHERE model = '*'), 0) / 1e9 END
           AS usd
    FROM public.api_usage AS u
    CROSS JOIN LATERAL (
        SELECT CASE WHEN reset_date IS NOT NULL AND (reset_date_zone IS NULL OR reset_date_zone = reporting_timezone
                        OR (created_at BETWEEN '2000-01-01 00:00Z' AND '2100-12-31 23:59:59.999999Z') IS NOT TRUE)
                    THEN reset_date
                    WHEN created_at BETWEEN '0002-01-01' AND '9990-01-01'
                    THEN (created_at AT TIME ZONE reporting_timezone)::date END AS day
        FROM monitoring.installation) AS d
    LEFT JOIN monitoring.openai_reservations AS r ON r.request_id = u.request_id AND r.day = d.day
        AND u.id = md5('smarttext:openai:' || r.request_id)::uuid
    LEFT JOIN LATERAL (
        SELECT upper_nano_usd_per_token AS price FROM monitoring.openai_prices
        WHERE model = CASE WHEN u.model ~ '-[0-9]{4}-[0-9]{2}-[0-9]{2}$' THEN left(u.model, -11) ELSE u.model END
            AND valid_from <= d.day ORDER BY valid_from DESC LIMIT 1) AS p ON true
    WHERE u.service = 'openai'
) AS usage
WHERE day >= monitoring.today() - 7 GROUP BY 1, 2 HAVING sum(tokens) <> 0 OR sum(usd) <> 0 ORDER BY 1, 2
"""
"""What the counter must be, written anew: the reservation decides before the price list where no cost is told."""
COUNTER = """
SELECT day::text, business_id, used_tokens AS tokens, used_usd::numeric(40, 9) AS usd FROM monitoring.openai_budgets
WHERE day >= monitoring.today() - 7 AND (used_tokens <> 0 OR used_usd <> 0) ORDER BY 1, 2
"""
RESERVE = "SELECT allowed, reason FROM public.reserve_openai_usage(%s, %s, %s)"
SETTLE = "SELECT settled, reason FROM public.settle_openai_usage(%s, %s::bigint, %s::numeric)"
CANCEL = "SELECT cancelled, reason FROM public.cancel_openai_usage(%s)"


def reap(database: Database) -> int:
    """Let the time pass after which the reaper books what is held; return how many it booked."""
    database.run("UPDATE monitoring.openai_reservations SET reserved_at = reserved_at - interval '20 minutes'")
    return int(database.rows("SELECT monitoring.reap_openai_reservations() AS n")[0]["n"])


def add_businesses(database: Database, count: int) -> list[UUID]:
    """Insert businesses and return their ids."""
    statement = "INSERT INTO public.businesses (name) SELECT 'B' || n FROM generate_series(1, %s) AS n RETURNING id"
    return [row["id"] for row in database.rows(statement, count)]


def connect_as(database: Database, role: str | None = None) -> psycopg.Connection[Any]:
    """Return a connection of its own, as a role."""
    connection = database.server.connect(database.name)
    if role:
        connection.execute(f"SET ROLE {role}")
    return connection


_MAX_SECONDS = 120.0


@dataclass
class Crowd:
    """Clients that spend from one budget for some seconds, some of which are killed or never settle.

    Attributes:
        overshoot: Largest amount by which the use exceeded the limit at any moment.
        admitted: Calls that were made.
        refused: Calls that were refused.
        killed: Sessions that were ended from outside.
        unsettled: Calls after which the client did not settle.
    """

    database: Database
    business: UUID
    limit: int
    overshoot: int = 0
    admitted: int = 0
    refused: int = 0
    killed: int = 0
    unsettled: int = 0
    errors: list[str] = field(default_factory=list)

    def run(
        self,
        clients: int,
        seconds: float,
        call: Callable[["Crowd", psycopg.Connection[Any], random.Random], None],
        until: Callable[["Crowd"], bool] = lambda _: True,
    ) -> None:
        """Let the clients loose for some seconds, and on a slow machine for longer: until something has happened."""
        begin = time.monotonic()

        def goes_on() -> bool:
            passed = time.monotonic() - begin
            return passed < seconds or (passed < _MAX_SECONDS and not until(self))

        threads = [threading.Thread(target=self._client, args=(n, goes_on, call)) for n in range(clients)]
        threads += [threading.Thread(target=work, args=(goes_on,)) for work in (self._watch, self._kill)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _client(self, seed: int, goes_on: Callable[[], bool], call: Callable[..., None]) -> None:
        rng = random.Random(seed)
        while goes_on():
            try:
                with connect_as(self.database) as connection:
                    connection.execute("SET application_name = 'client'")
                    while goes_on():
                        call(self, connection, rng)
            except psycopg.OperationalError:
                continue
            except psycopg.Error as error:
                self.errors.append(str(error))

    def _watch(self, goes_on: Callable[[], bool]) -> None:
        with connect_as(self.database) as connection:
            while goes_on():
                row = connection.execute(
                    "SELECT used_tokens, (SELECT sum(tokens_used) FROM public.api_usage) "
                    "FROM monitoring.openai_budgets WHERE business_id = %s",
                    [self.business],
                ).fetchone()
                if row:
                    self.overshoot = max(self.overshoot, int(row[0]) - self.limit, int(row[1] or 0) - self.limit)

    def _kill(self, goes_on: Callable[[], bool]) -> None:
        rng = random.Random(0)
        statement = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'client' OFFSET %s LIMIT 1"
        )
        with connect_as(self.database) as connection:
            while goes_on():
                time.sleep(0.05)
                self.killed += connection.execute(statement, [rng.randrange(8)]).rowcount


Call = Callable[[Crowd, psycopg.Connection[Any], random.Random], None]
"""What a client does, again and again."""


def guarded(crowd: Crowd, connection: psycopg.Connection[Any], rng: random.Random) -> None:
    """Reserve, call, settle; one call in ten is never settled."""
    tokens, request = rng.randrange(1, 40), str(uuid4())
    allowed, _ = connection.execute(RESERVE, [crowd.business, tokens, request]).fetchone()  # type: ignore[misc]
    if not allowed:
        crowd.refused += 1
        return
    crowd.admitted += 1
    if rng.random() < 0.1:
        crowd.unsettled += 1
        return
    connection.execute(SETTLE, [request, rng.randrange(tokens + 1), None])


def read_then_compare(crowd: Crowd, connection: psycopg.Connection[Any], rng: random.Random) -> None:
    """Do as the application did: read the sum, compare, call, insert."""
    tokens = rng.randrange(1, 40)
    used = connection.execute(
        "SELECT coalesce(sum(tokens_used), 0) FROM public.api_usage WHERE business_id = %s", [crowd.business]
    ).fetchone()
    if used and used[0] + tokens > crowd.limit:
        crowd.refused += 1
        # A day that ended well by luck is begun again.
        connection.execute(
            "DELETE FROM public.api_usage WHERE business_id = %s "
            "AND (SELECT sum(tokens_used) FROM public.api_usage WHERE business_id = %s) <= %s",
            [crowd.business, crowd.business, crowd.limit],
        )
        return
    crowd.admitted += 1
    time.sleep(0.1)
    connection.execute(
        "INSERT INTO public.api_usage (service, endpoint, business_id, tokens_used) VALUES ('openai', 'chat', %s, %s)",
        [crowd.business, tokens],
    )
