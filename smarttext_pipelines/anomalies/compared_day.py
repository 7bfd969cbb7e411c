"""What the model says of a day: how far it is from what was known before it. Pure."""

from dataclasses import dataclass

from smarttext_pipelines.anomalies.tails import Flags, Floats


@dataclass(frozen=True)
class Scored:
    """A day of a family, an element for each series.

    Attributes:
        nats: −ln of the calibrated tail probability; zero where nothing can be said.
        side: 1 where it is too much, −1 where it is too little.
        window: Index of the window that is the most unusual.
        found: What was counted in that window.
        expected: What was to be expected of it.
        spread: Standard deviation of what was to be expected.
        whole: What it is out of in that window, or the days of it that are known, for a count.
        excess: What was counted above what was expected, by window.
    """

    nats: Floats
    side: Floats
    window: Floats
    found: Floats
    expected: Floats
    spread: Floats
    whole: Floats
    excess: Floats


@dataclass(frozen=True)
class Compared:
    """A day compared with what was known before it; by window but for the first three, the unit, and the last four.

    Attributes:
        today: ``counted`` of it; zero where nothing is known.
        known: Series that are known and have begun.
        usable: Those that are known for long enough.
        found: What was counted.
        expected: What was to be expected.
        whole: What it is out of.
        uneven: How unevenly that is spread over the days.
        unit: Of an amount: what one typically is.
        count: What was counted, in units.
        mean: What was to be expected, in units.
        lagged: The same without the level of the days in the window.
        sd: Its standard deviation, in units.
        window: Index of the window that is the most unusual.
        side: 1 where it is too much there, −1 where it is too little.
        raw: −ln of its tail probability.
        moved: Whether everybody moved.
    """

    today: Floats
    known: Flags
    usable: Flags
    found: Floats
    expected: Floats
    whole: Floats
    uneven: Floats
    unit: Floats | None
    count: Floats
    mean: Floats
    lagged: Floats
    sd: Floats
    window: Floats
    side: Floats
    raw: Floats
    moved: bool
