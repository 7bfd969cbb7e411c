"""Scopes and spans: whom a value concerns, and from when to when it was counted. Pure."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Self
from uuid import UUID

LAST_TEXTS = -1
"""In place of the minutes of a window: the last decided texts of a scope, however long that took."""


@dataclass(frozen=True)
class Scope:
    """Whom or what an incident concerns.

    Attributes:
        kind: platform, business, sender, group, or a part of the pipeline: job, run, check, channel, heartbeat,
            rules.
        name: What stands after the colon; empty for the platform and a group.
    """

    kind: str
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the scope of its text."""
        kind, _, name = text.partition(":")
        return cls(kind, name)

    @classmethod
    def of_business(cls, business: UUID | None) -> Self:
        """Return the scope of a business."""
        return cls("business", str(business) if business else "none")

    def __str__(self) -> str:
        """Return how the database keeps it."""
        return f"{self.kind}:{self.name}" if self.name else self.kind

    @property
    def is_of_events(self) -> bool:
        """Whether it is one of the events of customers, not of the pipeline itself."""
        return self.kind in ("platform", "business", "sender")


_SQL = {"business": "('business:' || {})", "sender": "('sender:' || left(md5({}), 12))"}


def with_scopes(statement: str) -> str:
    """Write out ``business_scope(id)`` and ``sender_scope(number)`` in a statement: the text of a scope.

    A function of the database would need a fixed ``search_path``, and PostgreSQL inlines none that has one.
    """
    return re.sub(r"\b(business|sender)_scope\(([\w.]+)\)", lambda found: _SQL[found[1]].format(found[2]), statement)


PLATFORM = Scope("platform")
GROUP = Scope("group")


@dataclass(frozen=True)
class Span:
    """What one value of an incident was counted over: enough to count it again.

    Attributes:
        scope: Whom.
        start_at: First instant that counted.
        end_at: Instant at which it was measured; what was not known then does not count.
        minutes: Length of the window; ``LAST_TEXTS`` where it was the last texts.
        business_id: Business of the scope.
        apart: Business that is left out, because it has most of the failures and an incident of its own.
    """

    scope: Scope
    start_at: datetime
    end_at: datetime
    minutes: int
    business_id: UUID | None = None
    apart: UUID | None = None
