"""Customers who were not reached: callers without a text, times the share who write back when they get one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import Connection, text

from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.core.rates import wilson_interval
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.economics.write_backs import days_counted

WEEKS = 8
_NAMED = 4
_READ = text(
    """
    SELECT m.business_id, coalesce(b.name, '(no business)') AS business, m.unanswered,
           coalesce(w.texted, 0) AS texted, coalesce(w.wrote_back, 0) AS wrote_back
    FROM (
        SELECT business_id, sum(missed_calls_unreplied)::bigint AS unanswered FROM public.daily_stats
        WHERE date = ANY (CAST(:days AS date[])) AND (CAST(:business AS uuid) IS NULL OR business_id = :business)
        GROUP BY business_id HAVING sum(missed_calls_unreplied) > 0
    ) AS m
    LEFT JOIN (
        SELECT business_id, sum(texted_callers)::bigint AS texted, sum(wrote_back)::bigint AS wrote_back
        FROM monitoring.write_backs WHERE day BETWEEN :first AND :last AND business_id IS NOT NULL GROUP BY business_id
    ) AS w ON w.business_id = m.business_id
    LEFT JOIN monitoring.business_names AS b ON b.id = m.business_id
    """
)


@dataclass(frozen=True)
class Lost:
    """What a business lost for want of a text.

    Attributes:
        business: Name, or ``(no business)``.
        unanswered: Missed calls whose caller got no text.
        texted: Callers in the weeks before who got one; 0 where that is not known.
        wrote_back: Of these, who wrote back.
    """

    business: str
    business_id: UUID | None
    unanswered: int
    texted: int
    wrote_back: int

    @property
    def about(self) -> int | None:
        """Customers who were not reached, to the nearest one; None where nobody was texted."""
        return (2 * self.unanswered * self.wrote_back + self.texted) // (2 * self.texted) if self.texted else None

    @property
    def interval(self) -> tuple[int, int] | None:
        """Between how many they are, by the 95 % interval of the share; rounded outwards."""
        found = wilson_interval(self.wrote_back, self.texted)
        return found and (math.floor(self.unanswered * found[0]), math.ceil(self.unanswered * found[1]))


def read_lost(connection: Connection, days: Sequence[date], business: UUID | None = None) -> Sequence[Lost]:
    """Return what each business with unanswered callers lost, the most first; then those of which it is unknown.

    Args:
        connection: A connection to the event database.
        days: Days of the missed calls.
        business: Only this business.
    """
    if not days:
        return []
    learnt = days_counted(max(days), WEEKS)
    values = {"days": list(days), "business": business, "first": learnt.first, "last": learnt.last}
    found = [Lost(**row) for row in connection.execute(_READ, values).mappings()]
    return sorted(found, key=_rank)


def _rank(each: Lost) -> tuple[bool, float, int, str, str]:
    share = each.wrote_back / each.texted if each.texted else 0
    is_unknown = each.about is None
    return is_unknown, -share * each.unanswered, -each.unanswered, each.business, str(each.business_id)


def in_words(found: Sequence[Lost]) -> str:
    """Return such as ``About 7 (4–11) customers not reached: Dover about 5 (3–8), …``; nothing where none is known."""
    known = [each for each in found if each.about is not None]
    if not known:
        return ""
    about = sum(each.about or 0 for each in known)
    low, high = (sum(each.interval[end] for each in known if each.interval) for end in (0, 1))
    named = [f"{shown_name(each.business)} {_range(each)}" for each in known[:_NAMED] if each.about]
    more = sum(1 for each in known[len(named) :] if each.about)
    names = f": {', '.join(named)}{f', and {more} more' if more else ''}" if named else ""
    unknown = len(found) - len(known)
    rest = f"; unknown for {counted(unknown, 'more business', 'more businesses')}" if unknown else ""
    return f"About {about:,} ({low:,}–{high:,}) {'customer' if about == 1 else 'customers'} not reached{names}{rest}"


def _range(each: Lost) -> str:
    low, high = each.interval or (0, 0)
    return f"about {each.about:,} ({low:,}–{high:,})"
