"""One thing that is put back, and what is known when it is decided. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from smarttext_pipelines.schema.adoption.change import Change
from smarttext_pipelines.schema.public_state import State


@dataclass(frozen=True)
class Undo:
    """What is put back together.

    Attributes:
        changes: What people are shown; empty for what goes along with another.
        statements: What is run.
    """

    changes: tuple[Change, ...] = ()
    statements: tuple[str, ...] = ()


@dataclass(frozen=True)
class Before:
    """What the way down is decided by.

    Attributes:
        found: What is in ``public`` now.
        record: What adoption found there.
        theirs: Newest state, of each view and its columns, and function, that the application gave it.
        comments: Comments that migrate wrote, by table or table.column.
        roles: Roles that exist.
        role: Role that runs it.
        triggers: Table and name of each trigger that calls a function of ours.
        filled: Tables that have rows.
        wide: Columns with a value that the type on record cannot hold.
        set_aside: How many rows of ``daily_stats`` adoption took out.
        has_kept: Whether an earlier way down has kept rows and values.
        drops_monitoring: Whether the schema ``monitoring`` is dropped, too.
    """

    found: State
    record: State
    theirs: State = field(default_factory=dict)
    comments: Mapping[str, str] = field(default_factory=dict)
    roles: frozenset[str] = frozenset()
    role: str = ""
    triggers: tuple[tuple[str, str], ...] = ()
    filled: frozenset[str] = frozenset()
    wide: frozenset[str] = frozenset()
    set_aside: int = 0
    has_kept: bool = False
    drops_monitoring: bool = False

    def is_replaced(self, kind: str, name: str) -> bool:
        """Return whether a view or function is the application's now."""
        return is_theirs(self.found.get((kind, name)))

    def later(self, kind: str, name: str) -> Mapping[str, Any] | None:
        """Return the newest state that the application gave a view or function since adoption, if it did."""
        return self.found[kind, name] if self.is_replaced(kind, name) else self.theirs.get((kind, name))

    @property
    def adopted(self) -> list[str]:
        """Tables that the application made and that are still tables."""
        return [name for kind, name in self.record if kind == "table" and self.is_table(name)]

    def is_table(self, name: str) -> bool:
        """Return whether a name is a table with rows of its own."""
        return self.found.get(("table", name), {}).get("relkind") in ("r", "p")


def is_theirs(state: Mapping[str, Any] | None) -> bool:
    """Return whether a view or function is the application's: ours name the schema ``monitoring``."""
    return state is not None and "monitoring." not in (state["definition"] or "")


def quoted(name: str) -> str:
    """Return a name as an identifier; ``PUBLIC`` stays the word."""
    return name if name == "PUBLIC" else '"' + name.replace('"', '""') + '"'


def literal(text: str | None) -> str:
    """Return a text as SQL writes it."""
    return "NULL" if text is None else "'" + text.replace("'", "''") + "'"
