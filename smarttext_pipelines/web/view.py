"""What a page is made of: typed view models without HTML, and the question that they answer. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from smarttext_pipelines.core.days import DayRange, day_of
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.settings import Settings

Cell = str | int | Decimal | float | bool | date | datetime | UUID | None
"""A value as it is; None is unknown, and is shown as that."""


class AddressError(InputError):
    """An address has a date, a number or an id that is none, whatever the database holds."""


class Model(BaseModel):
    """A part of a view; it never changes."""

    model_config = ConfigDict(frozen=True)


class Column(Model):
    """A column of a table.

    Attributes:
        key: Its key in each row.
        label: Its heading.
        unit: What its numbers are in: percent, USD, or nothing.
        link: Key of the row that holds where the cell leads; empty when it leads nowhere.
        none: What is said for None; an unknown number says so.
    """

    key: str
    label: str
    unit: str = ""
    link: str = ""
    none: str = "unknown"


class Table(Model):
    """Rows with names; also what CSV and JSON give.

    Attributes:
        name: For the address of its CSV.
        title: Its caption.
        columns: In order.
        rows: By key of the columns, and what they link to.
        empty: What is said instead when there is no row.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Cell], ...]
    empty: str = "Nothing to show."


class Figure(Model):
    """One number of a page.

    Attributes:
        name: Key, the same in JSON and on the page.
        label: What it counts.
        value: None is unknown.
        unit: percent, USD, or nothing.
        note: What it is a share of, or what is not known.
        link: Where its rows are.
        tone: good, look or bad, where it says that somebody is needed.
    """

    name: str
    label: str
    value: Cell
    unit: str = ""
    note: str = ""
    link: str = ""
    tone: str = ""


class Series(Model):
    """Values by day, for a chart and the table beneath it; None is unknown and leaves a gap."""

    name: str
    title: str
    unit: str
    days: tuple[date, ...]
    lines: Mapping[str, tuple[float | int | Decimal | None, ...]]


class Line(Model):
    """A sentence with what to do about it."""

    text: str
    command: str = ""
    link: str = ""
    tone: str = ""


class View(Model):
    """What every page has."""

    title: str
    headline: str = ""
    tone: str = ""
    as_of: datetime
    zone: str
    note: str = ""
    figures: tuple[Figure, ...] = ()
    lines: tuple[Line, ...] = ()
    tables: tuple[Table, ...] = ()
    series: tuple[Series, ...] = ()
    links: tuple[Line, ...] = ()


@dataclass(frozen=True)
class Ask:
    """What a page is asked.

    Attributes:
        settings: Zone, reply time and the like.
        now: Time of reading.
        path: Parts of the address that vary.
        query: The rest of the address; a link holds all of a page's state.
    """

    settings: Settings
    now: datetime
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def zone(self) -> ZoneInfo:
        """The reporting zone."""
        return self.settings.zone

    @property
    def today(self) -> date:
        """The day that is going on."""
        return day_of(self.now, self.zone)

    def day(self, default: date) -> date:
        """Return the day of the address; raise AddressError for what is none."""
        return self._date("date", default)

    def days(self, length: int) -> DayRange:
        """Return the days of the address, or the last ones of that number; raise AddressError for what are none."""
        last = self._date("to", self.today)
        first = self._date("from", last - timedelta(days=length - 1))
        if first > last or (last - first).days > 366:
            msg = f"from {first} to {last} is no range of at most 366 days"
            raise AddressError(msg)
        return DayRange(first, last)

    def number(self, name: str, default: int = 0) -> int:
        """Return a whole number of the address; raise AddressError for what is none."""
        text = {**self.query, **self.path}.get(name, "")
        if not text:
            return default
        if not text.isascii() or not text.isdigit() or len(text) > 12:
            msg = f"'{text[:40]}' is no number"
            raise AddressError(msg)
        return int(text)

    def business(self, text: str) -> UUID | None:
        """Return the business of an address; ``none`` is what has no business."""
        if text == "none":
            return None
        try:
            return UUID(text)
        except ValueError:
            msg = f"'{text[:40]}' is no id of a business"
            raise AddressError(msg) from None

    def _date(self, name: str, default: date) -> date:
        text = self.query.get(name, "")
        try:
            found = date.fromisoformat(text) if text else default
        except ValueError:
            msg = f"'{text[:40]}' is no date: write it as {self.today}"
            raise AddressError(msg) from None
        if found > self.today:
            msg = f"{found} is in the future"
            raise AddressError(msg)
        return found


@dataclass(frozen=True)
class Page:
    """A page: its address, its view model and its place in the menu.

    Attributes:
        name: Of its template, its JSON and its CSV.
        route: Its address; parts in braces vary.
        view: From a connection and a question to the view model.
        menu: What the menu calls it; empty when it is not there.
        is_live: Whether open pages get what is new by themselves.
        topics: What changes when it is new; see ``live``.
    """

    name: str
    route: str
    view: Callable[[Connection, Ask], View]
    menu: str = ""
    topics: tuple[str, ...] = ()
