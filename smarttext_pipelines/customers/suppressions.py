"""Recipients who are not to be texted now, and texts that were sent in spite of an opt-out, for people."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

_FIND = text(
    """
    SELECT s.business_id, n.name AS business, s.recipient, s.verdict, s.since, s.reason, s.sender, s.sent_in_spite,
           s.last_in_spite_at
    FROM monitoring.masked_suppressed_recipients(CAST(:business AS uuid)) WITH ORDINALITY AS s
    LEFT JOIN monitoring.business_names AS n ON n.id = s.business_id
    ORDER BY s.ordinality
    """
)


@dataclass(frozen=True)
class Suppression:
    """A recipient of a business who is not to be texted, or who was texted in spite of an opt-out.

    Attributes:
        business_id: Business; None for none.
        business: Its name; None for none.
        recipient: Number, masked.
        verdict: ``opted_out``, ``invalid_number``, ``unreachable_now``; ``allowed`` where an opt-out has ended.
        since: First event that says so; None where it has no time.
        reason: What it says.
        sender: Whom the recipient opted out of, masked; None where it is not about a sender.
        sent_in_spite: Texts that were attempted while the recipient was opted out of that sender.
        last_in_spite_at: When the last of them was attempted.
    """

    business_id: UUID | None
    business: str | None
    recipient: str
    verdict: str
    since: datetime | None
    reason: str
    sender: str | None
    sent_in_spite: int
    last_in_spite_at: datetime | None


def find_suppressions(connection: Connection, business: UUID | None = None) -> Sequence[Suppression]:
    """Return them in one statement, those who were texted in spite of it first.

    Args:
        connection: Of a role that may execute ``monitoring.masked_suppressed_recipients``.
        business: Only those of a business.
    """
    return [Suppression(**row) for row in connection.execute(_FIND, {"business": business}).mappings()]
