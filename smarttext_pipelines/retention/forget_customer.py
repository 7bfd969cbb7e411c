"""Forget a customer: what a key did becomes what nobody is known to have done, so that sums stay as they are."""

import re
from datetime import date

from sqlalchemy import Connection, Engine, delete, func, insert, literal, null, select, update

from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.metrics.customer_days import MEASURES
from smarttext_pipelines.schema.tables.statistics import customer_days

KEY_DIGITS = 12
"""Digits of a key that are enough to say which one is meant."""


def require_known_key(engine: Engine, key: str | None) -> None:
    """Raise InputError where customers have keys, and that of the person is not known here."""
    with connected(engine) as connection:
        has_keys = connection.scalar(
            select(select(customer_days).where(customer_days.c.customer_key.is_not(None)).exists())
        )
    if has_keys and key is None:
        msg = "customers have keys, and their secret is not here: set SMARTTEXT_CUSTOMER_KEY to it; nothing was deleted"
        raise InputError(msg)


def find_key(connection: Connection, beginning: str) -> tuple[str, list[date]]:
    """Return the one key that begins so, and its days; raise InputError where there is none, or several."""
    key, day = customer_days.c.customer_key, customer_days.c.day
    if not re.fullmatch(f"[0-9a-f]{{{KEY_DIGITS},64}}", beginning):
        msg = f"write a customer's key, or its first {KEY_DIGITS} digits or more; nothing was deleted"
        raise InputError(msg)
    rows = connection.execute(select(key, day).where(key.startswith(beginning, autoescape=True)).distinct()).all()
    if len({row.customer_key for row in rows}) != 1:
        said = (
            "several keys begin so: write more of it" if rows else "no customer has a key that begins so: write another"
        )
        msg = f"{said}; nothing was deleted"
        raise InputError(msg)
    return rows[0].customer_key, [row.day for row in rows]


def forget_customer(connection: Connection, key: str) -> int:
    """Add the rows of a key to those without one, and return how many days of a business these were.

    Args:
        connection: In a transaction.
        key: As ``core.customer_keys.customer_key`` makes it.
    """
    t = customer_days
    gone = delete(t).where(t.c.customer_key == key).returning(t).cte("gone")
    is_same = (t.c.day == gone.c.day) & t.c.business_id.is_not_distinct_from(gone.c.business_id)
    summed = {name: t.c[name] + gone.c[name] for name in MEASURES}
    added = (
        update(t).where(is_same, t.c.customer_key.is_(None)).values(summed).returning(t.c.day, t.c.business_id)
    ).cte("added")
    is_added = (added.c.day == gone.c.day) & added.c.business_id.is_not_distinct_from(gone.c.business_id)
    # Its id is that of no rollup: the next one of the day puts its own row in its place.
    rest = select(
        func.gen_random_uuid(), gone.c.day, gone.c.business_id, null(), *(gone.c[name] for name in MEASURES)
    ).where(~select(literal(1)).where(is_added).exists())
    columns = ["id", "day", "business_id", "customer_key", *MEASURES]
    known = connection.scalar(select(func.count()).select_from(t).where(t.c.customer_key == key)) or 0
    connection.execute(insert(t).from_select(columns, rest))
    return int(known)
