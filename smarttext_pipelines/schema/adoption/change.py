"""A change that ``migrate`` makes to objects of others, and the facts that it follows from. Pure."""

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
        what: The object, as people call it.
        now: What is there.
        then: What will be there.
        keys: Catalog entries it concerns.
    """

    what: str
    now: str
    then: str
    keys: tuple[Key, ...]


@dataclass(frozen=True)
class Facts:
    """What the catalog of ``public`` does not contain.

    Attributes:
        zone: Reporting zone.
        is_finished: Whether a first migration has completed.
        record: What was found originally; None where nothing was recorded yet.
        installed: What the last migrate left there.
        roles: Which of Supabase's roles there are.
        needs_policy: Whether ``service_role`` is bound by row level security.
        writers: Which public roles can really insert into each table.
        is_revoked: Whether a person has revoked their right to write.
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
