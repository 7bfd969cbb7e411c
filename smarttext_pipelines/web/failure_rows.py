"""Why texts failed: by class and code, with who acts and what to do."""

from uuid import UUID

from sqlalchemy import Connection, text

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.failure_classes import class_of
from smarttext_pipelines.web.view import Column, Table

_FAILED = """
    SELECT error_code AS code, sum(message_count)::bigint AS texts FROM monitoring.sms_outcomes
    WHERE day BETWEEN :first AND :last AND status_class = 'failed' {business}
    GROUP BY error_code HAVING sum(message_count) > 0 ORDER BY texts DESC, code LIMIT 100
"""
_COLUMNS = (
    Column(key="class", label="Class"),
    Column(key="code", label="Code", link="dictionary"),
    Column(key="texts", label="Texts"),
    Column(key="reason", label="What happened"),
    Column(key="who", label="Who acts"),
    Column(key="next_step", label="Next step"),
)
_DICTIONARY = "https://www.twilio.com/docs/api/errors/{}"


def failures_table(connection: Connection, days: DayRange, business: UUID | None, *, is_all: bool) -> Table:
    """Return failed texts by code.

    Args:
        connection: A connection to the event database.
        days: Which days.
        business: A business; None for what has none.
        is_all: Every business, and what has none.
    """
    of = "" if is_all else "AND business_id IS NULL" if business is None else "AND business_id = :business"
    values = {"first": days.first, "last": days.last, **({"business": business} if business and not is_all else {})}
    rows = []
    for row in connection.execute(text(_FAILED.format(business=of)), values).mappings():
        known = class_of(row["code"])
        is_twilios = bool(row["code"]) and row["code"].isdigit()
        rows.append(
            {
                "class": known.name,
                "code": row["code"] or "none",
                "dictionary": _DICTIONARY.format(row["code"]) if is_twilios else None,
                "texts": row["texts"],
                "reason": known.reason,
                "who": known.who,
                "next_step": known.next_step,
            }
        )
    title = f"Why texts failed, {days.first} to {days.last}"
    return Table(name="failures", title=title, columns=_COLUMNS, rows=tuple(rows), empty="No text failed.")
