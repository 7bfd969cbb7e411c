"""Texts that fail, and evaluations at a time of one's choice, for the tests of alerting."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from sqlalchemy import text

from smarttext_pipelines.alerting.channels.channel import Channel, Delivery, Outcome, Sent
from smarttext_pipelines.alerting.incidents.evaluate import Evaluated, evaluate
from smarttext_pipelines.alerting.measuring.now import Place
from smarttext_pipelines.alerting.notify.markup import PLAIN, Markup
from smarttext_pipelines.alerting.rules.rule import Rule
from smarttext_pipelines.alerting.rules.rules_file import load_rules, parse_rules
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import insert_events
from smarttext_pipelines_tests.strategies import ID_SPACE

NOON = datetime(2026, 3, 16, 12, tzinfo=UTC)
"""A Monday."""

MINUTE = timedelta(minutes=1)
OWN_NUMBER, CUSTOMER_NUMBERS = "+15557770", "+1555888"


def business_id(number: int) -> UUID:
    return uuid5(ID_SPACE, f"alerting {number}")


@dataclass
class Recorder:
    """A channel that keeps what it is given."""

    name: str = "slack"
    recipients: tuple[str, ...] = ("C1",)
    markup: Markup = PLAIN
    sent: list[Delivery] = field(default_factory=list)

    def send(self, delivery: Delivery) -> Outcome:
        self.sent.append(delivery)
        return Sent(f"{self.name}:{len(self.sent)}")

    def find(self, delivery: Delivery) -> Sent | None:
        return None


@dataclass
class World:
    """A database with businesses, and a clock."""

    database: Database
    now: datetime = NOON
    rules: Mapping[str, Rule] = field(default_factory=lambda: load_rules(None))
    channels: Sequence[Channel] = field(default_factory=lambda: [Recorder()])
    texts: Any = field(default_factory=lambda: itertools.count(1))

    def businesses(self, count: int, **columns: Any) -> None:
        rows = [
            {
                "id": business_id(n),
                "name": "Hartley Plumbing" if n == 1 else f"Business {n}",
                "twilio_phone": f"{OWN_NUMBER}{n:04d}",
                "subscription_tier": "basic",
                **columns,
            }
            for n in range(1, count + 1)
        ]
        with self.database.engine.begin() as connection:
            insert_events(connection, {"businesses": rows})

    def send(
        self,
        count: int,
        *,
        business: int | None = 1,
        ago: timedelta = 20 * MINUTE,
        sender: str | None = None,
        **columns: Any,
    ) -> list[int]:
        """Record so many texts; delivered unless said otherwise."""
        numbers = [next(self.texts) for _ in range(count)]
        rows = [
            {
                "id": uuid5(ID_SPACE, f"text {n}"),
                "message_sid": f"SM{n:032x}",
                "from_number": sender or f"{OWN_NUMBER}{business or 0:04d}",
                "to_number": f"{CUSTOMER_NUMBERS}{n % 10_000:04d}",
                "business_id": business_id(business) if business else None,
                "status": "delivered",
                "error_code": None,
                "request_id": f"req-{n}",
                "created_at": self.now - ago,
                **columns,
            }
            for n in numbers
        ]
        with self.database.engine.begin() as connection:
            insert_events(connection, {"sms_events": rows})
        return numbers

    def report(self, numbers: Sequence[int], status: str) -> None:
        """Report the outcome of texts."""
        rows = [
            {
                "id": uuid5(ID_SPACE, f"report {n} {status}"),
                "message_sid": f"SM{n:032x}",
                "from_number": "",
                "to_number": "",
                "business_id": None,
                "status": status,
                "error_code": None,
                "request_id": "twilio-report",
                "created_at": self.now,
            }
            for n in numbers
        ]
        with self.database.engine.begin() as connection:
            insert_events(connection, {"sms_events": rows})

    def failing(self, business: int = 1, failed: int = 23, delivered: int = 38) -> list[int]:
        self.send(delivered, business=business)
        return self.send(failed, business=business, status="undelivered", error_code="30007")

    def tick(self, minutes: float = 1, **options: Any) -> Evaluated:
        self.now += minutes * MINUTE
        return evaluate(
            self.database.engine,
            self.rules,
            self.channels,
            Place(ZoneInfo("UTC"), 4, ()),
            now=self.now,
            link="http://127.0.0.1:3000/assets/alert_incidents",
            **options,
        )

    def begin(self) -> None:
        """Evaluate once with nothing wrong, so that what follows is no baseline."""
        assert not self.tick().notices

    def outbox(self, columns: str = "kind, channel, status", where: str = "true") -> list[tuple[Any, ...]]:
        rows = self.database.rows(f"SELECT {columns} FROM monitoring.notifications WHERE {where} ORDER BY id")
        return [tuple(row.values()) for row in rows]

    def incidents(self, columns: str = "rule, scope, state") -> list[tuple[Any, ...]]:
        rows = self.database.rows(f"SELECT {columns} FROM monitoring.incidents ORDER BY id")
        return [tuple(row.values()) for row in rows]

    def run(self, statement: str) -> None:
        with self.database.engine.begin() as connection:
            connection.execute(text(statement))


def only(*names: str, **changes: Any) -> dict[str, Rule]:
    """Return these shipped rules, with changes to all of them."""
    shipped = load_rules(None)
    return {name: shipped[name].model_copy(update=changes) for name in names}


__all__ = ["MINUTE", "NOON", "Recorder", "World", "business_id", "only", "parse_rules"]
