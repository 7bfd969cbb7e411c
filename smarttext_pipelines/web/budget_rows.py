"""Today's OpenAI budgets as a table. Pure."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from smarttext_pipelines.budgets.ledger import BudgetUse
from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.web.view import Column, Table

_COLUMNS = (
    Column(key="business", label="Business", link="link"),
    Column(key="percent", label="Used", unit="percent"),
    Column(key="used_tokens", label="Tokens used"),
    Column(key="reserved_tokens", label="Reserved"),
    Column(key="allowed_tokens", label="Limit"),
    Column(key="used_usd", label="Cost", unit="USD"),
    Column(key="allowed_usd", label="Limit", unit="USD"),
    Column(key="refused", label="Refused"),
    Column(key="reached_at", label="Limit reached about"),
)
_LIMITS = ("allowed_tokens", "allowed_usd")


def budgets_table(found: Sequence[BudgetUse], zone: ZoneInfo) -> Table:
    """Return budgets as ``smarttext budgets show`` shows them."""
    rows = []
    for use in found:
        row = {c.key: getattr(use, c.key) for c in _COLUMNS if c.key != "business"}
        # Here None is no limit, which is known.
        row |= {key: "none" for key in _LIMITS if row[key] is None}
        row |= {"percent": use.percent if use.percent is not None else "no limit"}
        row |= {"reached_at": f"{use.reached_at.astimezone(zone):%H:%M}" if use.reached_at else "not today"}
        link = f"/businesses/{use.business_id or 'none'}"
        rows.append({**row, "business": shown_name(use.business), "link": link})
    return Table(
        name="budgets", title="OpenAI today", columns=_COLUMNS, rows=tuple(rows), empty="OpenAI was not used today."
    )
