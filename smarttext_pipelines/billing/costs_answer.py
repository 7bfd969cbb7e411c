"""A page of OpenAI's costs, read with exact amounts. Pure.

What cannot be read for certain makes its day unknown; an amount is never guessed, rounded or added to another currency.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, InvalidOperation
from typing import Any

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.display import cut, visible
from smarttext_pipelines.core.errors import SmartTextError
from smarttext_pipelines.core.statuses import TEXT_LIMIT

_DAY = int(timedelta(days=1).total_seconds())
_LARGEST_USD, _DECIMALS = Decimal(10) ** 13, 30
_CURRENCY_LETTERS = 3
EXACT = Context(prec=100)
"""Sums and differences of amounts in it are not rounded."""


@dataclass(frozen=True)
class CostKey:
    """What an amount is for.

    Attributes:
        project_id: OpenAI's id of the project; None for costs of no project.
        line_item: Line of the invoice, such as a model and a kind of tokens; None for one without a name.
        currency: Three letters, in capitals.
    """

    project_id: str | None
    line_item: str | None
    currency: str


DayCosts = Mapping[CostKey, Decimal]
"""A day's amounts; below zero is an adjustment. Empty: OpenAI told of the day, and charges nothing."""


@dataclass(frozen=True)
class Page:
    """A page of the answer.

    Attributes:
        buckets: Day (UTC) and its amounts, in order; None where an amount cannot be read.
        following: Cursor of the next page; None at the end.
    """

    buckets: tuple[tuple[date, DayCosts | None], ...]
    following: str | None


class Chain:
    """The pages of one question, put together.

    Attributes:
        days: Days that can be read as a whole.
    """

    def __init__(self, asked: DayRange) -> None:
        """Begin with nothing told of the days."""
        self._asked, self._unknown = asked, set[date]()
        self.days: dict[date, DayCosts] = {}

    def add(self, page: Page) -> None:
        """Add a page, which may go on with a day of the page before.

        Raises:
            SmartTextError: Two buckets have an amount for the same day, project, line item and currency.
        """
        for day, costs in page.buckets:
            if day not in self._asked or day in self._unknown:
                continue
            if costs is None:
                self._unknown.add(day)
                self.days.pop(day, None)
                continue
            before = self.days.get(day, {})
            if before.keys() & costs.keys():
                msg = f"OpenAI told the costs of {day} twice in one answer; nothing of it is kept"
                raise SmartTextError(msg)
            self.days[day] = {**before, **costs}


def read_page(text: str) -> Page:
    """Return a page of the answer; raise ValueError where it is none, or ends in the middle."""
    # Floats would round what is charged.
    said = json.loads(text, parse_float=Decimal)
    try:
        buckets = tuple((_day(bucket), _costs(bucket["results"])) for bucket in said["data"])
        following = said["next_page"] if said["has_more"] else None
    except (KeyError, TypeError, AttributeError, OverflowError, OSError) as error:
        msg = f"not a page of costs: {type(error).__name__}"
        raise ValueError(msg) from None
    if said["has_more"] and not (isinstance(following, str) and following):
        msg = "more is to follow, but not where"
        raise ValueError(msg)
    return Page(buckets, following)


def _day(bucket: Mapping[str, Any]) -> date:
    begins, ends = bucket["start_time"], bucket["end_time"]
    if begins % _DAY or ends - begins != _DAY:
        msg = "a bucket that is no day in UTC"
        raise ValueError(msg)
    return datetime.fromtimestamp(int(begins), UTC).date()


def _costs(results: list[Mapping[str, Any]]) -> DayCosts | None:
    found: defaultdict[CostKey, Decimal] = defaultdict(Decimal)
    for result in results:
        said = result.get("amount") or {}
        amount, currency = _amount(said.get("value")), _currency(said.get("currency"))
        if amount is None or currency is None:
            return None
        key = CostKey(_name(result.get("project_id")), _name(result.get("line_item")), currency)
        found[key] = EXACT.add(found[key], amount)
    return dict(found)


def _amount(value: object) -> Decimal | None:
    """Return an amount, which OpenAI writes as a number or as a text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, Decimal | int | str):
        return None
    try:
        amount = Decimal(value)
    except InvalidOperation:
        return None
    exponent = amount.as_tuple().exponent
    is_exact = isinstance(exponent, int) and exponent >= -_DECIMALS
    return amount if is_exact and amount.copy_abs() < _LARGEST_USD else None


def _currency(value: object) -> str | None:
    is_one = isinstance(value, str) and len(value) == _CURRENCY_LETTERS and value.isascii() and value.isalpha()
    return str(value).upper() if is_one else None


def _name(value: object) -> str | None:
    return None if value is None else cut(visible(str(value)), TEXT_LIMIT) or None
