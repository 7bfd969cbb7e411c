"""A change that ``migrate`` makes of what others made, and the facts that it follows from. Pure."""

from dataclasses import dataclass, field

from smarttext_pipelines.schema.public_state import (
    State,
)
from smarttext_pipelines.schema.rights.writers import Writers

Key = tuple[str, str]


COMPARED = {
    "function": ("definition",),
    "view": ("definition", "options"),
    "trigger": ("definition", "enabled"),
    "policy": ("permissive", "command", "roles", "using", "check"),
}


@dataclass(frozen=True)
class Change:
    """One line of the table.

    Attributes:
        what: The object, as people name it.
        now: What is there.
        then: What will be there.
        keys: What of the catalog it concerns.
    """

    what: str
    now: str
    then: str
    keys: tuple[Key, ...]


@dataclass(frozen=True)
class Facts:
    """What the catalog of ``public`` does not say.

    Attributes:
        zone: Reporting zone.
        is_finished: Whether a first migration has come to its end.
        record: What was found at first; None where nothing was recorded yet.
        installed: What the last migrate left there.
        roles: Which of Supabase's roles there are.
        needs_policy: Whether ``service_role`` is bound by row level security.
        writers: Who of the public roles really inserts where.
        is_revoked: Whether they write no more, by a person's decision.
    """

    zone: str
    is_finished: bool = False
    record: State | None = None
    installed: State = field(default_factory=dict)
    roles: frozenset[str] = frozenset()
    needs_policy: bool = False
    writers: Writers = field(default_factory=dict)
    is_revoked: bool = False


def adopted_tables(found: State, record: State | None) -> frozenset[str]:
    """Return the tables that the application made."""
    return frozenset(name for kind, name in (found if record is None else record) if kind == "table")
