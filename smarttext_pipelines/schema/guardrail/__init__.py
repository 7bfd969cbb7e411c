"""SQL of the OpenAI guardrail: the functions that every language calls, and the trigger that counts the ledger."""

import re
from importlib.resources import files

from smarttext_pipelines.core.openai_prices import upper_prices
from smarttext_pipelines.schema.migrations.lock import TAKE

_FILES = ("budgets.sql", "reserve.sql", "settle.sql", "counter.sql", "triggers.sql", "prices.sql")
"""In the order in which they are run."""

_ROWS = """
        -- OFFSET 0: the day is computed once for each row.
        SELECT r.day, r.business_id, r.tokens,
               monitoring.counted_usd(r.cost, r.tokens, r.endpoint, r.model, r.request_id, r.id, r.day) AS usd
        FROM (
            SELECT monitoring.usage_day(u.reset_date, u.created_at, i.reporting_timezone, i.reset_date_zone) AS day,
                   u.business_id,
                   coalesce(u.tokens_used, 0)::numeric AS tokens, u.cost_estimate::numeric AS cost,
                   u.endpoint::text AS endpoint, u.model::text AS model, u.request_id::text AS request_id,
                   u.id::text AS id
            FROM {rows} AS u, monitoring.installation AS i
            WHERE u.service::text = 'openai'
                AND (u.reset_date >= {first} OR u.created_at >= {first} - 2)
            OFFSET 0
        ) AS r WHERE r.day >= {first}
"""
"""What each row of ``api_usage`` counts; the trigger, the recount and the check all read it here."""


def guardrail_statements() -> list[str]:
    """Return the statements that replace functions, create the triggers that are missing, and renew prices."""
    here = files(__package__)
    read = [(here / name).read_text() for name in _FILES]
    filled = [statement.replace("{prices}", _prices()).replace("{take}", TAKE) for statement in read]
    return [re.sub(r"\{rows of (\S+) since (\S+)\}", _rows, statement) for statement in filled]


def _rows(found: re.Match[str]) -> str:
    return _ROWS.replace("{rows}", found[1]).replace("{first}", found[2])


def _prices() -> str:
    return ",\n            ".join(
        f"('{price.model}', '{price.valid_from}'::date, {price.nano_usd_per_token}::bigint)" for price in upper_prices()
    )
