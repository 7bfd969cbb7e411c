"""Whatever happened: the rows shown are the rows counted, for every shipped rule that counts rows."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Integer, Numeric, insert

from smarttext_pipelines.alerting.incidents.counted_rows import counted_rows
from smarttext_pipelines.alerting.measuring.now import Place
from smarttext_pipelines.alerting.rules.rules_file import load_rules
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines.schema.tables.lookup import table_named
from smarttext_pipelines_tests.alerting.test_evaluation import _miss
from smarttext_pipelines_tests.alerts import MINUTE, NOON, World, business_id
from smarttext_pipelines_tests.conftest import SOAK, Database
from smarttext_pipelines_tests.events import EVERYTHING, insert_events, roll_up_all

PLACE = Place(ZoneInfo("UTC"), 4, ())
WITH_ROWS = {
    name: rule.model_copy(update={"for_": 1})
    for name, rule in load_rules(None).items()
    if rule.alert_metric.rows is not None
}
"""Every shipped rule that counts rows; what it makes of a day is in ``_DAYS``."""

AMOUNTS = {"openai_budget": "tokens_used", "openai_spend": "cost_estimate"}
"""Metrics whose k is no number of rows but the sum of a column of theirs."""

LARGEST = "openai_heavy_customer"
"""The metric whose k is the tokens or requests of its first row, whose percentage is the largest."""

UNTIMED = {"openai_budget", "openai_spend", "unpriced_share", "anomalies", LARGEST}
"""Metrics of sums of a day: when the first of what they count began is not known, so ``since`` is when it was found."""

CODES = ("30007", "30003", "30034", "30002", "98765", "21610")
NOBODY = 8
"""Stands for events of no business; seven businesses are enough for a group."""

TOLD = (5, "texts_failed")
"""The series that another rule has told of, where it is unusual."""

SHARED = "+15557779999"
TODAY, YESTERDAY = NOON.date(), NOON.date() - timedelta(days=1)


@dataclass(frozen=True)
class Day:
    """What happened: each event as the number of its business and how many minutes ago it was, and what else it is."""

    texts: Sequence[tuple[int, bool, str, str, int, int]] = ()
    missed: Sequence[tuple[int, int, int]] = ()
    alerts: Sequence[tuple[int, bool, int]] = ()
    usage: Sequence[tuple[int, int | None, Decimal | None, int | None]] = ()
    allowed: int = 10**9
    dead: Sequence[tuple[str, bool, int]] = ()
    unusual: Sequence[tuple[int, str, int]] = ()
    judged: Sequence[tuple[int, str, str]] = ()
    heavy: Sequence[tuple[int, str, int, int]] = ()


_BUSINESS, _ANYONE = st.integers(1, NOBODY - 1), st.integers(1, NOBODY)
_COST = st.none() | st.sampled_from([Decimal(0), Decimal("0.000001"), Decimal("0.25"), Decimal(3)])
_SERIES = st.sampled_from(["texts_failed", "calls_unanswered", "texts_sent", "openai_cost"])
_DAYS = st.builds(
    Day,
    texts=st.lists(
        st.tuples(
            _ANYONE,
            st.booleans(),
            st.sampled_from(["delivered", "undelivered", "failed", "queued"]),
            st.sampled_from(CODES),
            st.integers(1, 330),
            st.integers(1, 25),
        ),
        min_size=1,
        max_size=14,
    ),
    missed=st.lists(
        st.tuples(_BUSINESS, st.integers(7, 58), st.integers(1, 6)), max_size=6, unique_by=lambda each: each[:2]
    ),
    alerts=st.lists(st.tuples(_BUSINESS, st.booleans(), st.integers(1, 350)), max_size=25),
    usage=st.lists(st.tuples(_ANYONE, st.none() | st.integers(0, 900), _COST, st.none() | st.integers(1, 700))),
    allowed=st.sampled_from([100, 2000, 10**9]),
    dead=st.lists(st.tuples(st.sampled_from(["slack", "pagerduty"]), st.booleans(), st.integers(0, 90)), max_size=8),
    unusual=st.lists(
        st.tuples(_ANYONE, _SERIES, st.sampled_from([-1, 1])), max_size=9, unique_by=lambda each: each[:2]
    ),
    judged=st.lists(
        st.tuples(_ANYONE, _SERIES, st.sampled_from(["right", "wrong", "expected"])),
        max_size=4,
        unique_by=lambda each: each[:2],
    ),
    heavy=st.lists(
        st.tuples(_BUSINESS, st.sampled_from("abc"), st.integers(1, 200), st.integers(0, 40_000)),
        max_size=9,
        unique_by=lambda each: each[:2],
    ),
)

BAD = Day(
    texts=[
        (business, False, status, code, 20, count)
        for business in (1, 2)
        for status, code, count in (
            ("delivered", "", 9), ("undelivered", "30007", 25), ("failed", "30002", 2), ("failed", "98765", 2),
            ("queued", "", 25), ("failed", "21610", 3),
        )
    ]
    + [(business, True, "undelivered", "30003", 30, 9) for business in (3, 4, 6)]
    + [(3, True, "failed", "30034", 40, 12)]
    + [(NOBODY, False, "queued", "", 20, 300)],
    missed=[(1, 30, 5), (2, 20, 2)],
    alerts=[(1, n % 3 == 0, 10 + n) for n in range(24)],
    usage=[(1, 700, Decimal(4), 60), (1, 900, None, None), *[(2, 9, None, 5)] * 40, (NOBODY, None, Decimal("0.5"), 7)],
    allowed=1600,
    dead=[("slack", False, 50), ("slack", False, 2), ("slack", True, 1), ("pagerduty", False, 80)],
    unusual=[(5, "texts_failed", 1), (5, "openai_cost", 1), (5, "calls_unanswered", 1), (NOBODY, "texts_sent", -1)],
    judged=[(5, "openai_cost", "wrong")],
    heavy=[(1, "a", 9, 50_000), (1, "b", 120, 30_000), (1, "c", 3, 200), (2, "a", 300, 900), (3, "a", 5, 19_999)],
)  # fmt: skip
"""A day on which every rule finds something, and something beside it that it does not count."""


def test_the_rows_shown_are_those_that_the_rule_counted(database: Database) -> None:
    world = World(database, rules=WITH_ROWS)
    fired: set[str] = set()

    @settings(max_examples=40 if SOAK else 2)
    @given(day=_DAYS)
    @example(day=BAD)
    def agrees(day: Day) -> None:
        _happen(world, day)
        world.tick(0)
        messages = {m["incident"]: m for (m,) in world.outbox("message", "status NOT IN ('suppressed', 'dead')")}
        found = database.rows("SELECT * FROM monitoring.incidents WHERE state <> 'resolved' ORDER BY id")
        for incident in found:
            fired.add(incident["rule"])
            with database.engine.begin() as connection:
                rows = list(counted_rows(connection, incident["id"], world.rules, PLACE).rows)
            if incident["scope"] == "group":
                assert len(rows) == incident["part"], incident
                assert {row["incident"] for row in rows} <= {f"INC-{each['id']}" for each in found}
                continue
            _agree(incident, rows)
            if incident["id"] in messages and world.rules[incident["rule"]].alert_metric.counts_messages:
                _require_true(world, messages[incident["id"]], rows)

    agrees()
    silent = sorted(set(WITH_ROWS) - fired)
    assert not silent, "no day makes these rules fire: let BAD and _DAYS have what they count"


def _agree(incident: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Require that these rows are as many, or as much, as was counted, and that ``since`` is the first of them."""
    metric = WITH_ROWS[incident["rule"]].metric
    if metric in AMOUNTS:
        amount = sum((Decimal(row[AMOUNTS[metric]] or 0) for row in rows), Decimal(0))
        assert round(amount, 2) == incident["part"], incident
    elif metric == LARGEST:
        assert rows[0][rows[0]["much_of"]] == incident["part"], incident
        assert rows[0]["percent"] == max(row["percent"] for row in rows) == round(incident["value"], 2), incident
    else:
        assert len(rows) == incident["part"], incident
    times = [row["at"] for row in rows if row["at"]]
    if metric in UNTIMED:
        assert max(times, default=NOON) <= incident["since"] == NOON + MINUTE, incident
    else:
        assert min(times) == incident["since"], incident


def _happen(world: World, day: Day) -> None:
    """Make it be that day, with nothing told of it yet."""
    tables = ("incidents", "notifications", "openai_budgets", "budget_crossings", "anomalies", "anomaly_days",
              "anomaly_verdicts", "rule_states", "customer_days")  # fmt: skip
    world.run(f"TRUNCATE {EVERYTHING}, {', '.join(f'monitoring.{name}' for name in tables)} RESTART IDENTITY CASCADE")
    world.now = NOON
    world.businesses(NOBODY - 1)
    world.begin()
    world.send(1, ago=timedelta(hours=5.5))
    for business, minutes, count in day.missed:
        _miss(world, count, ago=minutes, business=business)
    for business, is_shared, status, code, minutes, count in day.texts:
        world.send(
            count,
            business=business if business < NOBODY else None,
            sender=SHARED if is_shared else None,
            ago=minutes * MINUTE,
            status=status,
            error_code=code if status in ("undelivered", "failed") else None,
        )
    with world.database.engine.begin() as connection:
        insert_events(connection, {"owner_alerts": _alerts(world, day), "api_usage": _usage(world, day)})
    roll_up_all(world.database.engine, DayRange(TODAY - timedelta(days=4), TODAY), metrics={"spend": METRICS["spend"]})
    _budgets(world, day)
    _dead(world, day.dead)
    _unusual(world, day)
    _heavy(world, day)


def _heavy(world: World, day: Day) -> None:
    table = table_named("customer_days")
    measures = {c.name: 0 for c in table.columns if isinstance(c.type, Integer | Numeric)}
    rows = [
        {
            **measures, "id": uuid4(), "day": TODAY, "business_id": _id(business), "customer_key": key * 64,
            "openai_requests": requests, "openai_tokens_used": tokens,
        }
        for business, key, requests, tokens in day.heavy
    ]  # fmt: skip
    with world.database.engine.begin() as connection:
        if rows:
            connection.execute(insert(table), rows)


def _id(business: int) -> Any:
    return business_id(business) if business < NOBODY else None


def _alerts(world: World, day: Day) -> list[dict[str, Any]]:
    return [
        {
            "id": uuid4(), "business_id": business_id(business), "owner_phone": "+15550001111",
            "customer_phone": "+15550002222", "message_content": "", "alert_type": "missed_call",
            "message_sid": f"SMowner{n}", "delivered": delivered, "created_at": world.now - minutes * MINUTE,
        }
        for n, (business, delivered, minutes) in enumerate(day.alerts)
    ]  # fmt: skip


def _usage(world: World, day: Day) -> Iterable[dict[str, Any]]:
    """Return the usage of today, some of it without a time or tokens, and a little on each of the days before."""
    before = [(number, 10, Decimal("0.01"), ago * 1440) for number in range(1, NOBODY + 1) for ago in (1, 2, 3, 4)]
    for business, tokens, cost, minutes in (*before, *day.usage):
        at = None if minutes is None else world.now - minutes * MINUTE
        yield {
            "id": uuid4(), "service": "openai", "endpoint": "chat", "model": "gpt-4o", "business_id": _id(business),
            "tokens_used": tokens, "cost_estimate": cost, "created_at": at, "reset_date": at.date() if at else TODAY,
        }  # fmt: skip


def _budgets(world: World, day: Day) -> None:
    """Count today's usage as the guardrail does, whose own today is another day."""
    world.run(
        "INSERT INTO monitoring.openai_budgets (business_id, day, used_tokens, limit_tokens)"
        f" SELECT business_id, reset_date, sum(coalesce(tokens_used, 0)), {day.allowed} FROM public.api_usage"
        f" WHERE reset_date = '{TODAY}' GROUP BY 1, 2"
    )
    world.run(
        "INSERT INTO monitoring.budget_crossings (business_id, day, unit, threshold_percent, used, allowed)"
        " SELECT business_id, day, 'tokens', 80, used_tokens, limit_tokens FROM monitoring.openai_budgets"
        " WHERE used_tokens * 100 >= limit_tokens * 80"
    )


def _dead(world: World, dead: Sequence[tuple[str, bool, int]]) -> None:
    """Give notifications up: of an incident of the past, or of what told of a dead channel."""
    for n, (channel, is_of_channels, minutes) in enumerate(dead):
        at = world.now - minutes * MINUTE
        number = _past(world, "notifications_dead" if is_of_channels else "past", f"channel:{n}", at)
        world.run(
            "INSERT INTO monitoring.notifications (incident_id, sequence, kind, severity, channel, recipient, message,"
            f" status, note, finished_at, deadline_at) VALUES ({number}, 1, 'firing', 'info', '{channel}', 'x', '{{}}',"
            f" 'dead', '401', '{at}', '{at}')"
        )


def _past(world: World, rule: str, scope: str, at: datetime, business: str = "NULL") -> int:
    """Let an incident have been at that time; return its number."""
    world.run(
        "INSERT INTO monitoring.incidents (rule, scope, business_id, state, severity, since, fired_at, resolved_at,"
        f" evaluated_at) VALUES ('{rule}', '{scope}', {business}, 'resolved', 'info', '{at}', '{at}', '{at}', '{at}')"
    )
    return int(world.database.rows("SELECT max(id) AS id FROM monitoring.incidents")[0]["id"])


def _unusual(world: World, day: Day) -> None:
    world.run(f"INSERT INTO monitoring.anomaly_days (day, tested_count) VALUES ('{YESTERDAY}', 1)")
    for business, metric, side in day.unusual:
        whose = f"'{_id(business)}'" if business < NOBODY else "NULL"
        world.run(
            "INSERT INTO monitoring.anomalies (day, metric, business_id, side, window_days, found, whole, expected,"
            f" low, high, nats) VALUES ('{YESTERDAY}', '{metric}', {whose}, {side}, 1, 9, 30, 1, 0, 3, 20)"
        )
        if business == TOLD[0] and metric == TOLD[1]:
            _past(world, "sms_failure_rate", f"business:{_id(business)}", NOON - timedelta(days=1), whose)
    for n, (business, metric, verdict) in enumerate(day.judged):
        whose = f"'{_id(business)}'" if business < NOBODY else "NULL"
        world.run(
            "INSERT INTO monitoring.anomaly_verdicts (anomaly_id, metric, business_id, side, day, nats, verdict,"
            f" said_by) VALUES ({1000 + n}, '{metric}', {whose}, 1, '{YESTERDAY}', 20, '{verdict}', 'somebody')"
        )


def _require_true(world: World, message: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Require that the lines of a notice are of these rows."""
    # Masked numbers of two people can be the same.
    counted = [row["message"] for row in rows if row["audience"] == "customer"]
    (callers,) = world.database.rows(
        "SELECT count(DISTINCT to_number) AS n FROM public.sms_events WHERE message_sid = ANY (%s)", counted
    )
    said = [line for line in message["lines"] if line.startswith("Customers affected")]
    assert len(said) == (callers["n"] > 0), message
    assert not said or said[0].startswith(f"Customers affected: {callers['n']} caller")
    codes = Counter(row["code"] for row in rows if row["status"] in ("failed", "undelivered"))
    why = [line for line in message["lines"] if line.startswith("Why: ")]
    for code, count in codes.most_common(1):
        assert f"{count} × " in why[0], (code, why)
