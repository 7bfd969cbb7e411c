"""One thing to tell of a day, and what its sentences are made of. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import IntEnum
from uuid import UUID

from smarttext_pipelines.digest.facts import Facts
from smarttext_pipelines.digest.totals import Totals
from smarttext_pipelines.digest.usual import Usual, usual_of

NAMED = 4
"""How many of a kind are named."""


class Urgency(IntEnum):
    """How soon somebody should look."""

    note = 0
    look = 1
    bad = 2


@dataclass(frozen=True)
class Judgement:
    """One thing to tell.

    Attributes:
        key: What it is about; the same on the next day if it goes on.
        urgency: How soon somebody should look.
        phrase: A few words for the headline; empty where it is not for the headline.
        text: A whole sentence.
        command: Command that shows the rows.
    """

    key: str
    urgency: Urgency
    phrase: str
    text: str
    command: str


def share(found: Decimal | None) -> str:
    """Return a percentage for a headline, without decimals."""
    return "unknown" if found is None else f"{found:.0f} %"


def usual(facts: Facts, value: Callable[[Totals], Decimal | None]) -> Usual | None:
    """Return what is usual of a value on such a weekday."""
    return usual_of(map(value, facts.usual))


def of_business(business: UUID | None) -> str:
    """Return the option that names a business in a command; ids, because names are anybody's text."""
    return f"--business {business}" if business else "--unattributed"


def on_day(day: date) -> str:
    """Return the option that names a day in a command."""
    return f"--date {day}"
