"""``smarttext economics``: what each business costs and pays, and which customers were not reached."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated
from uuid import UUID

import typer
from sqlalchemy import Connection

from smarttext_pipelines.cli.options import BusinessOption, JsonOption, find_business, parse_day, require_text, today
from smarttext_pipelines.cli.printing import print_json, print_rows, say
from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.database.rolled_up_days import complete_days
from smarttext_pipelines.economics.lost import Lost, in_words, read_lost
from smarttext_pipelines.economics.plans import Plan, load_plans
from smarttext_pipelines.economics.unit_economics import MonthOfBusiness, month_days, read_economics
from smarttext_pipelines.launch.databases import event_transaction
from smarttext_pipelines.settings import Settings, load_settings

_MONTHS_BEFORE = 2
_AMOUNTS = ("texts", "tokens", "price", "cost so far", "at month end", "margin", "per missed call", "per answered")
MonthOption = Annotated[str | None, typer.Option("--month", metavar="YYYY-MM", help="The month; default is this one.")]


def economics(*, month: MonthOption = None, business: BusinessOption = None, as_json: JsonOption = False) -> None:
    """Show what each business costs and pays in a month, who costs more than it pays, and customers not reached.

    `≥` is what is recorded of something that is not known in full.
    """
    settings = load_settings()
    require_text(("--business", business), ("--month", month))
    first = _month(settings, month)
    plans = load_plans(settings.plans)
    with event_transaction(settings) as connection:
        chosen = find_business(connection, business) if business else None
        months = [_first_before(first, ago) for ago in range(_MONTHS_BEFORE, -1, -1)]
        found = {each: _read(connection, settings, each, plans, chosen) for each in months}
        days = sorted(complete_days(connection, month_days(first), settings.zone))
        lost = read_lost(connection, days, chosen)
    if as_json:
        print_json({"month": first, "businesses": [_as_json(each) for each in found[first]],
                    "before": [asdict(each) for other in months[:-1] for each in found[other]],
                    "not_reached": [{**asdict(each), "about": each.about, "interval": each.interval} for each in lost],
                    })  # fmt: skip
        return
    _print(found, first, days, plans)
    _print_lost(lost)
    if not plans:
        say("prices are unknown: SMARTTEXT_PLANS names no file of plans")


def _read(
    connection: Connection, settings: Settings, month: date, plans: Mapping[str, Plan], business: UUID | None
) -> Sequence[MonthOfBusiness]:
    now = datetime.now(UTC)
    return read_economics(connection, month, plans, zone=settings.zone, now=now, business=business)


def _as_json(each: MonthOfBusiness) -> dict[str, object]:
    return {**asdict(each), "expected_cost_usd": each.expected_cost_usd, "loses": each.loses}


def _print(
    found: Mapping[date, Sequence[MonthOfBusiness]], month: date, days: Sequence[date], plans: Mapping[str, Plan]
) -> None:
    before = [{each.business_id: each for each in found[other]} for other in sorted(found) if other != month]
    names = [f"{other:%Y-%m}" for other in sorted(found) if other != month]
    rows = [
        {
            **_row(each, plans.get(each.plan or "")),
            **{
                name: _margin(of_month.get(each.business_id)) for name, of_month in zip(names, before, strict=True)
            },
        }
        for each in found[month]
    ]  # fmt: skip
    known = f"{len(days)} of {counted(len(month_days(month)), 'day')} rolled up"
    print_rows(rows, title=f"USD, {month:%Y-%m} ({known})", right=(*_AMOUNTS, *names))
    losing = [shown_name(each.business) for each in found[month] if each.loses]
    if losing:
        said = "costs more than it pays" if len(losing) == 1 else "cost more than they pay"
        say(f"{', '.join(losing)} {said}, at the pace of this month")
    if not found[month]:
        say(f"{month:%Y-%m}: nothing was rolled up")


def _row(each: MonthOfBusiness, plan: Plan | None) -> dict[str, str]:
    is_known = each.cost_usd is not None
    return {
        "business": shown_name(each.business),
        "plan": each.plan or "–",
        "texts": _of(each.texts, plan.included_texts if plan else None),
        "tokens": _of(each.tokens, plan.included_tokens if plan else None),
        "price": _usd(each.plan_usd),
        "cost so far": _usd(each.known_cost_usd, at_least=not is_known),
        "at month end": _usd(each.expected_cost_usd, at_least=not is_known),
        "margin": _margin(each),
        "per missed call": _usd(each.usd_per_missed_call),
        "per answered": _usd(each.usd_per_answered_caller),
        "loses": {True: "yes", False: "no", None: "–"}[each.loses],
    }


def _margin(each: MonthOfBusiness | None) -> str:
    """Return price less cost at the month's end, at the pace of the days that are known."""
    cost = each.expected_cost_usd if each else None
    if each is None or cost is None or each.plan_usd is None:
        return "–"
    sign = "" if each.cost_usd is not None else "≤ "
    return f"{sign}{each.plan_usd - cost:,.2f}"


def _of(used: int | None, included: int | None) -> str:
    shown = "–" if used is None else f"{used:,}"
    return shown if included is None else f"{shown} of {included:,}"


def _usd(amount: Decimal | None, *, at_least: bool = False) -> str:
    return "–" if amount is None else f"{'≥ ' if at_least else ''}{amount:,.2f}"


def _print_lost(lost: Sequence[Lost]) -> None:
    rows = [
        {
            "business": shown_name(each.business),
            "without a text": f"{each.unanswered:,}",
            "write back": f"{each.wrote_back:,} of {each.texted:,}" if each.texted else "unknown",
            "not reached": "unknown" if each.about is None else f"about {each.about:,}",
            "95 %": "{:,}–{:,}".format(*each.interval) if each.interval else "–",
        }
        for each in lost
    ]
    print_rows(rows, title="who needs a human", right=("without a text", "write back", "not reached", "95 %"))
    said = in_words(lost)
    if said:
        say(said)


def _month(settings: Settings, text: str | None) -> date:
    now = today(settings)
    try:
        month = now if text is None else parse_day(f"{text}-01")
    except InputError:
        msg = f"'{text}' is no month; write it as 2026-01"
        raise InputError(msg) from None
    if month > now:
        msg = f"{text} is in the future; today is {now} in {settings.reporting_timezone}"
        raise InputError(msg)
    return month.replace(day=1)


def _first_before(month: date, ago: int) -> date:
    for _ in range(ago):
        month = (month - timedelta(days=1)).replace(day=1)
    return month
