"""Tokens a request: percentiles as a reference of a few lines says, what is archived is unknown, whose they are."""

import json
import math
import random
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smarttext_pipelines.budgets.request_tokens import read_request_tokens
from smarttext_pipelines.core.days import DayRange, day_of
from smarttext_pipelines.core.statuses import RESET_ENDPOINT
from smarttext_pipelines_tests.conftest import SOAK, Database
from smarttext_pipelines_tests.events import cells, replace_events, roll_up_all
from smarttext_pipelines_tests.strategies import BUSINESS_IDS, api_call, business, events, sms_event

NEW_YORK = ZoneInfo("America/New_York")
BEGIN = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = DayRange(date(2026, 3, 3), date(2026, 3, 14))
"""Clocks change on the eighth; the first day is a Tuesday."""


def _rank(values: list[int], share: float) -> int:
    return sorted(values)[max(1, math.ceil(share * len(values) - 1e-9)) - 1]


def expected(rows: list[dict[str, Any]]) -> dict[Any, tuple[int, int, int | None, int | None]]:
    """Return (week, business, model, endpoint) → requests, those without tokens, p50 and p95."""
    found = defaultdict(list)
    for row in rows:
        day = row["reset_date"] or day_of(row["created_at"], NEW_YORK)
        if day in DAYS and row["service"] == "openai" and row["endpoint"] != RESET_ENDPOINT:
            week = day - timedelta(days=day.weekday())
            found[week, row["business_id"], row["model"], row["endpoint"]].append(row["tokens_used"] or 0)
    told = {}
    for key, tokens in found.items():
        some = [each for each in tokens if each > 0]
        ranks = (_rank(some, 0.5), _rank(some, 0.95)) if some else (None, None)
        told[key] = (len(tokens), len(tokens) - len(some), *ranks)
    return told


def _drawn(chance: random.Random) -> list[dict[str, Any]]:
    rows = []
    for n in range(chance.randint(0, 60)):
        at = BEGIN + timedelta(minutes=chance.randrange(14 * 24 * 60))
        rows.append(
            api_call(
                n, at, business_id=chance.choice((None, *BUSINESS_IDS[:2])), model=chance.choice((None, "gpt-4o")),
                endpoint=chance.choice(("chat", "chat", "chat", "embeddings", RESET_ENDPOINT)),
                service=chance.choice(("openai", "openai", "openai", "twilio")),
                tokens_used=chance.choice((None, 0, *range(1, 40))),
                reset_date=chance.choice((None, day_of(at, NEW_YORK))),
            )
        )  # fmt: skip
    return rows


class TestPercentiles:
    """The statement beside the reference."""

    database: Database

    @pytest.fixture(autouse=True)
    def _use(self, database: Database) -> None:
        type(self).database = database
        database.run("UPDATE monitoring.installation SET reporting_timezone = 'America/New_York'")

    @settings(max_examples=300 if SOAK else 20, deadline=None)
    @given(chance=st.randoms(use_true_random=False))
    def test_each_is_what_the_reference_says_and_one_business_gets_its_own(self, chance: random.Random) -> None:
        rows = _drawn(chance)
        replace_events(self.database.engine, events(businesses=[business(1), business(2)], api_usage=rows))
        with self.database.engine.connect() as connection:
            found = read_request_tokens(connection, DAYS, NEW_YORK)
            own = read_request_tokens(connection, DAYS, NEW_YORK, business=BUSINESS_IDS[0])
        told = {
            (each.week, each.business_id, each.model, each.endpoint): (
                each.requests, each.without_tokens, each.p50, each.p95
            ) for each in found.rows
        }  # fmt: skip
        assert told == expected(rows)
        assert list(own.rows) == [each for each in found.rows if each.business_id == BUSINESS_IDS[0]]
        assert (found.attributed, found.days_without_customers) == ([], len(DAYS)), "nothing was rolled up"


WEEK = DayRange(date(2026, 3, 9), date(2026, 3, 15))
OPTIONS = ("--from", str(WEEK.first), "--to", str(WEEK.last))


def _fill(database: Database) -> None:
    noon = datetime(2026, 3, 10, 12, tzinfo=UTC)
    usage = [
        api_call(n, noon, business_id=BUSINESS_IDS[n % 2], tokens_used=10 * (n + 1), model="gpt-4o",
                 request_id=request) for n, request in enumerate(("req-1", "req-2", "gone", None, "two", "req-1"))
    ]  # fmt: skip
    texts = [
        sms_event(n, noon, message_sid=f"SM{n}", to_number=to, request_id=request, business_id=BUSINESS_IDS[0])
        for n, (request, to) in enumerate(
            [("req-1", "+15550100001"), ("req-2", "+15550100002"), ("two", "+15550100003"), ("two", "+15550100004")]
        )
    ]
    found = events(businesses=[business(1), business(2)], api_usage=usage, sms_events=texts)
    replace_events(database.engine, found)
    roll_up_all(database.engine, WEEK, as_of=datetime(2026, 3, 20, tzinfo=UTC))


def test_requests_that_lead_to_no_customer_are_those_in_the_row_without_a_key(
    database: Database, smarttext: Callable[..., tuple[int, str, str]]
) -> None:
    _fill(database)
    code, out, _ = smarttext("budgets", "tokens", *OPTIONS, "--json")
    told = json.loads(out)
    assert code == 0
    by_business = {row["business"]: (row["requests"], row["without_customer"]) for row in told["attributed"]}
    assert by_business == {"Business 1": (3, 2), "Business 2": (3, 1)}
    nobody = [row["openai_requests"] for row in cells(database.engine, "customer_days") if not row["customer_key"]]
    assert sum(nobody) == 3
    code, out, _ = smarttext("budgets", "tokens", *OPTIONS)
    assert code == 0
    (line,) = [line for line in out.splitlines() if "50.00" in line]
    assert line.split()[-3:] == ["6", "3", "50.00"]
    code, out, _ = smarttext("budgets", "tokens", "--from", "2026-03-08", "--to", str(WEEK.last))
    assert "unknown for 1 of 8 days" in out


def test_a_week_of_which_a_day_is_archived_is_unknown_and_named_but_whose_requests_they_were_is_not(
    database: Database, smarttext: Callable[..., tuple[int, str, str]]
) -> None:
    _fill(database)
    day = date(2026, 3, 11)
    database.run(
        "INSERT INTO monitoring.archive_segments (id, table_name, day, seq, state, min_at, max_at)"
        " VALUES (gen_random_uuid(), 'api_usage', %s, 1, 'deleted', %s, %s)", day, f"{day} 10:00+00", f"{day} 11:00+00",
    )  # fmt: skip
    code, out, _ = smarttext("budgets", "tokens", *OPTIONS)
    assert code == 0
    assert f"unknown for 1 week: requests of {day} … {day} are in the archive" in out
    assert "gpt-4o" not in out
    assert "50.00" in out
