"""A limit for each business, from what its days used: twice their 99th percentile, rounded up to two digits."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from smarttext_pipelines.core.days import DayRange

FACTOR, MIN_DAYS = 2, 7
_READ = text(
    """
    SELECT d.business_id, coalesce(b.name, '(no business)') AS business, d.days, d.p99_tokens, l.limit_tokens
    FROM (
        SELECT business_id, count(*) AS days, percentile_disc(0.99) WITHIN GROUP (ORDER BY tokens)::bigint AS p99_tokens
        FROM (
            SELECT business_id, day, sum(tokens_used) AS tokens FROM monitoring.spend
            WHERE service = 'openai' AND day BETWEEN :first AND :last
                AND (CAST(:business AS uuid) IS NULL OR business_id = :business)
            GROUP BY business_id, day HAVING sum(tokens_used) > 0
        ) AS used GROUP BY business_id
    ) AS d
    LEFT JOIN monitoring.business_names AS b ON b.id = d.business_id
    CROSS JOIN LATERAL monitoring.openai_limit(d.business_id) AS l
    ORDER BY d.p99_tokens DESC, business, d.business_id
    """
)


@dataclass(frozen=True)
class Proposal:
    """A limit that a business would hardly ever reach by itself.

    Attributes:
        business: Name, or ``(no business)``.
        days: Days on which it used OpenAI.
        p99_tokens: 99th percentile of the tokens of those days, nearest rank.
        limit_tokens: Its limit now; None is none.
    """

    business: str
    business_id: UUID | None
    days: int
    p99_tokens: int
    limit_tokens: int | None

    @property
    def proposed_tokens(self) -> int | None:
        """The proposed limit; None where the days are too few to say."""
        return rounded_up(FACTOR * self.p99_tokens) if self.days >= MIN_DAYS else None


def rounded_up(tokens: int) -> int:
    """Return the next number of at most two digits other than zeros: 43,210 becomes 44,000."""
    step: int = 10 ** max(len(str(tokens)) - 2, 0)
    return -(-tokens // step) * step


def propose_limits(connection: Connection, days: DayRange, business: UUID | None = None) -> Sequence[Proposal]:
    """Return a proposal for each business that used OpenAI, from the rolled-up days.

    Args:
        connection: A connection to the event database.
        days: The days that are looked at.
        business: Only this business.
    """
    values = {"first": days.first, "last": days.last, "business": business}
    return [Proposal(**row) for row in connection.execute(_READ, values).mappings()]
