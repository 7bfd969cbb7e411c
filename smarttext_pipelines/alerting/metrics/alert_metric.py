"""What a metric is that rules can watch: how it is measured, which rows it counts, and how it reads. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from smarttext_pipelines.alerting.rules.span import Span

if TYPE_CHECKING:
    from smarttext_pipelines.alerting.measuring.now import Now
    from smarttext_pipelines.alerting.rules.rule import Rule

ScopeKind = Literal["platform", "sender", "business", "pipeline"]
Rows = Callable[["Now", "AlertMetric", Span], Sequence[dict[str, Any]]]
"""Lists the rows that a metric counted in a span, in order of time, with numbers of people masked."""

LONGEST_SHORT_WINDOW = timedelta(hours=6)
"""Up to here windows are computed from events; longer ones are whole days of the daily facts."""

SHORTEST_WINDOW = timedelta(minutes=5)
DAY = timedelta(days=1)
TODAY: dict[str, Any] = {"shortest": DAY, "longest": DAY}
"""Windows of a metric of the reporting day."""

Quiet = tuple[timedelta, str]
"""How long an incident may be without an answer until it says nothing any more, and the reason of that end."""

NO_OUTCOME = DAY, "no outcome for 24 hours"

ONLY_EVENTS: dict[str, Any] = {"longest": LONGEST_SHORT_WINDOW}
"""Windows of a metric that the daily facts cannot answer."""


@dataclass(frozen=True)
class Reading:
    """A measured value, as a headline shows it.

    Attributes:
        value: In the unit of the metric.
        part: k of k of n.
        whole: n of k of n.
        window: The window in words, such as ``the last hour``; ``the last`` for last texts; empty when it is not known.
        first: ``; the first at HH:MM``, or empty.
        weekday: Name of the weekday.
        label: What the measurement says of the scope, cleaned; may be empty.
        usual: What is usual, in parentheses; may be empty.
    """

    value: float
    part: float
    whole: float
    window: str = ""
    first: str = ""
    weekday: str = ""
    label: str = ""
    usual: str = ""


def k_of_n(metric: "AlertMetric", reading: Reading) -> str:
    """Return ``23 of the last hour's 61 texts failed; the first at 13:00 (usual …)``."""
    whole = f"{reading.whole:,.0f} {metric.counts}"
    if reading.window == "the last":
        among = f"the last {whole}"
    elif reading.window:
        among = f"{reading.window}{'’' if reading.window.endswith('s') else '’s'} {whole}"
    else:
        among = whole
    return f"{reading.part:,.0f} of {among} {metric.verb}{reading.first}{reading.usual}"


def count_in_window(metric: "AlertMetric", reading: Reading) -> str:
    """Return ``3 texts in the last 6 hours were refused: …; the first at 13:00``."""
    within = f" in {reading.window}" if reading.window else ""
    if reading.part == 1:
        return f"1 {metric.counts.removesuffix('s')}{within} {metric.verb.replace('were ', 'was ')}"
    return f"{reading.part:,.0f} {metric.counts}{within} {metric.verb}{reading.first}"


@dataclass(frozen=True)
class AlertMetric:
    """A metric that rules can watch.

    Attributes:
        name: What rules call it.
        unit: Unit of its value and thresholds: percent, count, or a factor.
        scopes: Scopes it is measured for.
        counts: What n counts: such as ``texts``.
        measure: Adds the values of all metrics that share it, for all scopes and windows, to the temporary table
            ``alert_measures``; imports what it computes with, so that reading a rule loads no engine.
        verb: What k of them have done: such as ``failed``.
        next_step: One thing to do; empty where the class of the most frequent error says it.
        rows: Lists what it counted; None where it counts no rows of events.
        events: Which events these rows are; empty where they are none, or texts.
        counted: For messages, the SQL condition for k over a row of ``alert_texts``.
        among: For messages, the SQL condition for n.
        headline: How a value reads.
        is_rate: Whether the lower bound of k of n is compared, and the window widens.
        family: Incidents of one family inhibit each other, the wider scope the narrower one.
        error_class: Class of errors whose next step counts; empty for the most frequent.
        groups_by_key: Whether repeated keys must be known before it is measured.
        needs_outcomes: Whether it means nothing without delivery reports.
        absent_is_zero: Whether having no row means zero, not that nothing is known.
        is_state: Whether it is one or nothing, and so has no worst value.
        breaks_twilio: Whether a breach says that Twilio itself cannot be used.
        for_: Evaluations in breach until it fires, where a rule does not say.
        min_count: Least count, where a rule does not say.
        shortest: Shortest window it is measured over.
        longest: Longest one; 6 h where the daily facts cannot answer.
        quiet: When an incident without an answer ends; None where only an answer ends it.
    """

    name: str
    unit: Literal["percent", "count", "factor"]
    scopes: tuple[ScopeKind, ...]
    counts: str
    measure: "Callable[[Now, Sequence[Rule]], None]"
    verb: str = ""
    next_step: str = ""
    rows: Rows | None = None
    events: Literal["calls", "usage", "owner_alerts", ""] = ""
    counted: str = ""
    among: str = ""
    headline: Callable[["AlertMetric", Reading], str] = k_of_n
    is_rate: bool = False
    family: str = ""
    error_class: str = ""
    groups_by_key: bool = False
    needs_outcomes: bool = False
    absent_is_zero: bool = False
    is_state: bool = False
    breaks_twilio: bool = False
    for_: int = 2
    min_count: int = 20
    shortest: timedelta = SHORTEST_WINDOW
    longest: timedelta = timedelta.max
    quiet: Quiet | None = None

    @property
    def counts_messages(self) -> bool:
        """Whether it counts texts, so that causes and customers can be shown."""
        return bool(self.counted)

    @property
    def widens_by_events(self) -> bool:
        """Whether its window widens to the last texts of a scope, not to whole days."""
        return self.is_rate and self.counts_messages and self.longest > LONGEST_SHORT_WINDOW

    @property
    def default_window(self) -> timedelta:
        """Window of a rule that names none."""
        return max(timedelta(hours=1), self.shortest)
