"""What a migration finds: a view in place of a table is read and never altered."""

from alembic import context, op
from sqlalchemy import Connection, text

_KIND = text("SELECT relkind::text FROM pg_class WHERE oid = to_regclass('public.' || :name)")
_IS_KEYED = text(
    """
    SELECT to_regclass('public.businesses') IS NULL OR EXISTS (
        SELECT FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attname = 'id'
        WHERE i.indrelid = to_regclass('public.businesses') AND i.indisunique AND i.indnkeyatts = 1
            AND i.indkey[0] = a.attnum AND i.indpred IS NULL)
    """
)


def database() -> Connection | None:
    """Return the database that can be inspected; while statements are only printed, its present state, or none."""
    if context.is_offline_mode():
        looked_at: Connection | None = context.config.attributes.get("looked_at")
        return looked_at
    return op.get_bind()


def kind_of(name: str) -> str:
    """Return the ``pg_class.relkind`` of a relation in ``public``; that of a table where it cannot be looked up."""
    found = database()
    return (found.execute(_KIND, {"name": name}).scalar() if found else None) or "r"


def is_table(name: str) -> bool:
    """Return whether a name is a table, or will be one."""
    return kind_of(name) in ("r", "p")


def to_business() -> str:
    """Return the clause of a foreign key to ``businesses``; empty where its id is not a table's key."""
    found = database()
    if found and not found.execute(_IS_KEYED).scalar():
        return ""
    return " REFERENCES public.businesses (id)"
