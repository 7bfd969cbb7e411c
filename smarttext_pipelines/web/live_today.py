"""Today as the sampler last counted it, as the row that it keeps."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from smarttext_pipelines.digest.totals import Totals

_READ = text("SELECT as_of, numbers FROM monitoring.live_today WHERE day = :day")
_KEEP = text(
    """
    WITH gone AS (DELETE FROM monitoring.live_today WHERE day < :day)
    INSERT INTO monitoring.live_today (day, as_of, numbers) VALUES (:day, :as_of, CAST(:numbers AS jsonb))
    ON CONFLICT (day) DO UPDATE SET as_of = excluded.as_of, numbers = excluded.numbers
    WHERE live_today.as_of < excluded.as_of
    """
)
_MONEY = ("openai_usd", "texts_usd", "fees_usd")


@dataclass(frozen=True)
class Unanswered:
    """A business with callers that were left without a text."""

    business: str
    business_id: UUID | None
    unreplied: int
    missed: int


@dataclass(frozen=True)
class LiveToday:
    """The day that is going on.

    Attributes:
        day: Reporting day.
        as_of: When its events were read.
        totals: As the rollup would write them.
        unanswered: Businesses with callers without a text, the most of them first.
        newest: Time of the newest row of each source; None where it has none.
    """

    day: date
    as_of: datetime
    totals: Totals
    unanswered: Sequence[Unanswered] = ()
    newest: Mapping[str, datetime | None] = field(default_factory=dict)


def keep_live_today(connection: Connection, found: LiveToday) -> None:
    """Write the row of a day, unless a newer one is there; those of earlier days are removed."""
    numbers = {
        "totals": asdict(found.totals),
        "unanswered": [asdict(each) for each in found.unanswered],
        "newest": {name: at and at.isoformat() for name, at in found.newest.items()},
    }
    values = {"day": found.day, "as_of": found.as_of, "numbers": json.dumps(numbers, default=str)}
    connection.execute(_KEEP, values)


def read_live_today(connection: Connection, day: date) -> LiveToday | None:
    """Return what the sampler last counted of a day; None where it did not."""
    row = connection.execute(_READ, {"day": day}).first()
    if row is None:
        return None
    numbers: dict[str, Any] = row.numbers
    totals = {each.name: numbers["totals"].get(each.name) for each in fields(Totals)}
    money = {name: None if totals[name] is None else Decimal(totals[name]) for name in _MONEY}
    return LiveToday(
        day,
        row.as_of,
        Totals(**{**totals, **money}),
        tuple(
            Unanswered(**{**each, "business_id": each["business_id"] and UUID(each["business_id"])})
            for each in numbers["unanswered"]
        ),
        {name: at and datetime.fromisoformat(at) for name, at in numbers["newest"].items()},
    )
