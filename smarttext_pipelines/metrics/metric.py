"""The shape of a metric, the window it is computed over, and the few functions every engine must provide."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from zoneinfo import ZoneInfo

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from smarttext_pipelines.core.days import DayRange, day_end, day_start
from smarttext_pipelines.metrics.windowed import Expression, Tables, remembered

REPLY_MINUTES = 5


@ibis.udf.scalar.builtin
def reporting_day(at: dt.Timestamp(timezone="UTC"), zone: str) -> dt.date:  # type: ignore[valid-type]
    """Return the calendar day of an instant in a zone; each engine writes it in its own dialect."""


@ibis.udf.scalar.builtin
def byte_order(text: str) -> str:  # type: ignore[empty-body]
    """Mark a text that is compared by bytes, independent of the collation of the database."""


@ibis.udf.scalar.builtin
def elapsed_ms(  # type: ignore[empty-body]
    later: dt.Timestamp(timezone="UTC"),  # type: ignore[valid-type]
    earlier: dt.Timestamp(timezone="UTC"),  # type: ignore[valid-type]
) -> int:
    """Return the whole milliseconds between two instants, rounded down."""


@ibis.udf.scalar.builtin
def keyed_digest(text: str, inner: str, outer: str) -> str:  # type: ignore[empty-body]
    """Return the HMAC-SHA-256 of a text from the two padded blocks of its key, all in hexadecimal digits."""


def days_after(day: ir.DateValue, days: int) -> ir.DateValue:
    """Return the day so many days later, as a date."""
    # PostgreSQL makes a timestamp of a date and an interval, and Ibis drops a cast of what it takes for a date already.
    later: ir.DateValue = (day + ibis.interval(days=days)).cast("timestamp").cast("date")
    return later


def scaled(value: ir.IntegerValue, unit: str, kind: str) -> ir.DecimalValue:
    """Return an integer count of ``unit`` (such as ``0.01``) as an exact decimal of type ``kind``."""
    wide = "decimal(38, 6)"
    return (value.cast(wide) * ibis.literal(Decimal(unit), type=wide)).cast(kind)


@dataclass(frozen=True)
class Window:
    """The days a statement computes and the rows it may read.

    Attributes:
        days: Reporting days to compute.
        zone: Zone of the days.
        settle_days: Calendar days around a day in which rows of its messages and calls are looked for.
        as_of: Time of reading; days that end later are partial.
        reply_minutes: Minutes within which a missed call should get a text.
        usage_by_time: Whether ``created_at`` says the day of usage rather than ``reset_date``.
    """

    days: DayRange
    zone: ZoneInfo
    settle_days: int
    as_of: datetime
    reply_minutes: int = field(default=REPLY_MINUTES, kw_only=True)
    usage_by_time: bool = field(default=False, kw_only=True)

    @cached_property
    def start_at(self) -> datetime:
        """First instant of the days."""
        return day_start(self.days.first, self.zone)

    @cached_property
    def end_at(self) -> datetime:
        """First instant after the days."""
        return day_end(self.days.last, self.zone)

    @cached_property
    def search_start_at(self) -> datetime:
        """First instant at which rows of the days' messages are looked for."""
        return day_start(self.days.widen(self.settle_days).first, self.zone)

    @cached_property
    def search_end_at(self) -> datetime:
        """First instant after the search."""
        return day_end(self.days.widen(self.settle_days).last, self.zone)

    @property
    def is_one_day(self) -> bool:
        """Whether the day of a row follows from the bounds alone, so that no time zone is converted per row."""
        return len(self.days) == 1

    def between(self, at: ir.Column, start: datetime, end: datetime) -> ir.BooleanValue:
        """Return the condition ``start <= at < end``."""
        return (at >= ibis.literal(start)) & (at < ibis.literal(end))

    def day(self, at: ir.Column) -> ir.DateValue:
        """Return the reporting day of an instant that lies within the days."""
        return self.literal_day() if self.is_one_day else reporting_day(at, str(self.zone))

    def literal_day(self) -> ir.DateValue:
        """Return the first day as a literal."""
        return ibis.literal(self.days.first, type="date")


@dataclass(frozen=True)
class RecentWindow(Window):
    """The time before ``as_of``, for alerts within minutes; messages are defined as for a day.

    Attributes:
        length: How long.
        ago: How long before ``as_of`` it ends.
    """

    length: timedelta = timedelta(hours=1)
    ago: timedelta = timedelta()

    @cached_property
    def start_at(self) -> datetime:
        """First instant of the window."""
        return self.end_at - self.length

    @cached_property
    def end_at(self) -> datetime:
        """First instant after the window."""
        return self.as_of - self.ago

    @cached_property
    def search_start_at(self) -> datetime:
        """First instant at which earlier rows of a message are looked for; what has one began before the window."""
        return self.start_at - timedelta(days=self.settle_days)

    @cached_property
    def search_end_at(self) -> datetime:
        """Time of reading."""
        return self.as_of

    @property
    def is_one_day(self) -> bool:
        """Whether the bounds alone say what belongs to it: always."""
        return True


Daily = Mapping[str, Callable[[ir.Table], ir.NumericValue]]
"""What a row of a fact adds to columns of ``daily_stats``, by their names."""


Build = Callable[[Tables, Window], Expression]


@dataclass(frozen=True)
class Metric:
    """One table of numbers.

    Attributes:
        name: Name of the asset and of the table.
        inputs: Tables that ``rows`` and ``source_totals`` read.
        source: The event table whose days the metric accounts for; None for a metric derived from facts.
        looked_up: Other event tables that change what a row of ``source`` means.
        also_counted: Event tables whose days it accounts for besides those of ``source``.
        repeated: Builds the keys of the inputs that identify nothing on a day; None where nothing is grouped by a key.
        window_tables: Tables of what begins in the window that it reads: names of ``window_tables.WINDOW_TABLES``.
        reads_them_twice: Whether it does so in several places, so that they are worth a statement of their own.
        daily: Columns of ``daily_stats`` that are summed from it.
        shares_source: Whether another metric records the rows of ``source`` that were read.
        reads_neighbours: Whether rows of other days within the settle window change a day.
        dimensions: Columns that identify a row.
        day: The dimension that is the reporting day.
        rows: Builds the result: the dimensions and the measures.
        totals: Measures, or sums of measures, that must agree with ``source_totals`` day by day.
        source_totals: Builds ``day`` and those totals straight from the inputs, without what ``rows`` joins.
    """

    name: str
    inputs: tuple[str, ...]
    source: str | None
    reads_neighbours: bool
    dimensions: tuple[str, ...]
    rows: Build
    totals: Mapping[str, tuple[str, ...]]
    source_totals: Build
    day: str = "day"
    looked_up: tuple[str, ...] = ()
    also_counted: tuple[str, ...] = ()
    repeated: Build | None = None
    window_tables: tuple[str, ...] = ()
    reads_them_twice: bool = False
    shares_source: bool = False
    daily: Daily = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Remember what the builders built."""
        for name in ("rows", "source_totals", "repeated"):
            build = getattr(self, name)
            if build is not None:
                object.__setattr__(self, name, remembered(build))

    @property
    def sources(self) -> tuple[str, ...]:
        """The event tables whose days it accounts for; none for a metric derived from facts."""
        return (self.source, *self.also_counted) if self.source else ()

    @property
    def recorded_as(self) -> str:
        """Name under which ``rollup_days`` holds what was read for it."""
        return self.source if self.source and not self.shares_source else self.name
