"""Whether the counter of the budgets can be trusted: it is the ledger's sums, and nobody rewrites the ledger."""

from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from smarttext_pipelines.budgets.ledger import NIL
from smarttext_pipelines.database.findings import Finding, first_rows

_DIFFERENCES = f"""\
SELECT day, coalesce(b.business_id, u.business_id) AS business_id,
       coalesce(b.used_tokens, 0) - coalesce(u.tokens, 0) AS tokens,
       coalesce(b.used_usd, 0) - coalesce(u.usd, 0) AS usd
FROM (SELECT * FROM monitoring.openai_budgets WHERE day >= monitoring.today() - 6) AS b
FULL JOIN (
    SELECT day, business_id, coalesce(business_id, '{NIL}') AS business_key, tokens, usd
    FROM monitoring.openai_ledger(monitoring.today() - 6)
) AS u USING (day, business_key)
WHERE day >= monitoring.today() - 6
    AND (coalesce(b.used_tokens, 0) <> coalesce(u.tokens, 0) OR coalesce(b.used_usd, 0) <> coalesce(u.usd, 0))
ORDER BY 1, 2"""  # noqa: S608 - a constant
_RECENT = "FROM monitoring.ledger_rewrites WHERE rewritten_at >= now() - interval '1 day'"
_REWRITES = f"""\
SELECT id, rewritten_at, operation, day, business_id, tokens_change, usd_change
{_RECENT}
ORDER BY rewritten_at DESC, id DESC"""
_REWRITTEN = text(
    f"""
    SELECT count(*) AS rewrites, coalesce(sum(-least(tokens_change, 0)), 0) AS tokens,
           coalesce(sum(-least(usd_change, 0)), 0) AS usd {_RECENT}
    """
)


def counter_differences(connection: Connection) -> list[tuple[date, UUID | None, Decimal, Decimal]]:
    """Return day, business, and by how many tokens and USD the counter exceeds the ledger, where they differ.

    Looks at the last 7 days; the counters of older ones are closed.
    """
    return [tuple(row) for row in connection.execute(text(_DIFFERENCES))]


def difference_finding(connection: Connection) -> Finding | None:
    """Return where the counter and the ledger differ; None when they agree."""
    found = counter_differences(connection)
    if not found:
        return None
    tokens = sum(abs(tokens) for _, _, tokens, _ in found)
    usd = sum(abs(usd) for _, _, _, usd in found)
    said = (
        f"{len(found):,} counters of {len({row[0] for row in found})} days differ from the sums of api_usage, by "
        f"{tokens:,} tokens and {usd:,} USD in all"
    )
    return Finding(said, first_rows(connection, _DIFFERENCES), _DIFFERENCES)


def rewrite_finding(connection: Connection) -> Finding | None:
    """Return how usage was rewritten in the last 24 hours; None when nobody did."""
    found: Any = connection.execute(_REWRITTEN).one()
    if not found.rewrites:
        return None
    said = (
        f"OpenAI usage was updated or deleted {found.rewrites:,} times within 24 hours, which gave {found.tokens:,} "
        f"tokens and {found.usd:f} USD of budget back"
    )
    return Finding(said, first_rows(connection, _REWRITES), _REWRITES)
