"""Keys that identify nothing on a day, because more rows share them than one message or call can have.

Texts of a sender that writes one sid for all of them would otherwise count as one. A day's rows alone decide, so that
the days of a range depend on nothing else. What is found becomes the parameter table ``REPEATED``.
"""

from datetime import timedelta

import ibis
import ibis.expr.types as ir

from smarttext_pipelines.core.statuses import MAX_NUMBERS_OF_A_KEY, MAX_ROWS_OF_A_KEY
from smarttext_pipelines.metrics.metric import RecentWindow, Window
from smarttext_pipelines.metrics.numbers import compared_number


def repeated_keys(rows: ir.Table, window: Window) -> ir.Table:
    """Return the ``key`` (``part`` is empty), or the finer ``part``, that identifies nothing on a ``day``.

    Args:
        rows: Rows as ``Keyed`` has them.
        window: The days; for a recent window, the last 24 hours.
    """
    start = window.start_at
    if isinstance(window, RecentWindow):
        start = min(start, window.as_of - timedelta(days=1))
    seen = rows.filter(window.between(rows.at, start, window.end_at))
    seen = seen.mutate(day=window.day(seen.at), number_hash=seen.number.fill_null("").hash())
    # By small hashes first: where no key repeats, and so nearly always, that is all.
    hashed = seen.group_by("key_hash", "day").agg(
        rows=seen.count(), least=seen.number_hash.min(), greatest=seen.number_hash.max()
    )
    hashed = hashed.filter(
        (hashed.rows > MAX_ROWS_OF_A_KEY) | ((hashed.rows > MAX_NUMBERS_OF_A_KEY) & (hashed.least != hashed.greatest))
    )
    likely = seen.semi_join(hashed, ["key_hash", "day"])
    likely = likely.mutate(compared=compared_number(likely.number))
    keys = likely.group_by("key", "day").agg(rows=likely.count(), numbers=likely.compared.nunique())
    keys = keys.filter((keys.rows > MAX_ROWS_OF_A_KEY) | (keys.numbers > MAX_NUMBERS_OF_A_KEY))
    parted = likely.filter(likely.part != "").semi_join(keys, ["key", "day"])
    parts = parted.group_by("key", "part", "day").agg(rows=parted.count())
    parts = parts.filter(parts.rows > MAX_ROWS_OF_A_KEY)
    return keys.select("key", "day", part=ibis.literal("")).union(parts.select("key", "day", "part"))
