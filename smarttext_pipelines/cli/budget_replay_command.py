"""``smarttext budgets replay`` and ``propose``: what a limit would have done, and which one fits."""

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer

from smarttext_pipelines.budgets.limit_replay import Replay, ReplayedBusiness, replay_limit
from smarttext_pipelines.budgets.proposals import MIN_DAYS, propose_limits
from smarttext_pipelines.cli.budget_commands import MAX_TOKENS, require_plan
from smarttext_pipelines.cli.options import (
    BusinessOption,
    FromOption,
    JsonOption,
    ToOption,
    find_business,
    parse_days,
    require_text,
    today,
)
from smarttext_pipelines.cli.printing import print_json, print_rows, say, telling
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.database.rolled_up_days import complete_days
from smarttext_pipelines.launch.databases import event_transaction
from smarttext_pipelines.settings import Settings, load_settings

_WEEKS_REPLAYED, _WEEKS_OF_A_PROPOSAL = 4, 8


def replay(
    *,
    tokens: Annotated[
        int, typer.Option("--tokens", metavar="N", min=0, max=MAX_TOKENS, help="The limit: tokens of a reporting day.")
    ],
    plan: Annotated[str | None, typer.Option("--plan", help="Only businesses of this plan.")] = None,
    business: BusinessOption = None,
    first: FromOption = None,
    last: ToOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a daily limit would have refused, as the guard would have; default is the last four weeks."""
    settings = load_settings()
    require_text(("--plan", plan), ("--business", business))
    days = _days(settings, first, last, _WEEKS_REPLAYED)
    with telling("replaying calls"), event_transaction(settings) as connection:
        chosen = find_business(connection, business) if business else None
        if plan is not None:
            require_plan(connection, plan)
        found = replay_limit(connection, tokens, days, business=chosen, plan=plan)
    if as_json:
        print_json(_as_json(found))
    else:
        _print(found)


def _as_json(found: Replay) -> dict[str, object]:
    return {
        "limit_tokens": found.limit_tokens,
        "from": found.days.first,
        "to": found.days.last,
        "archived_days": found.archived_days,
        "businesses": [asdict(each) for each in found.businesses],
        "total": asdict(found.total),
    }


def _print(found: Replay) -> None:
    hit = [each for each in found.businesses if each.refused]
    rows = [_row(each) for each in ([*hit, found.total] if len(hit) > 1 else hit)]
    title = f"a limit of {counted(found.limit_tokens, 'token')} a day, {found.days}"
    print_rows(rows, title=title, right=("refused", "of", "days", "tokens", "USD saved", "customers", "no text known"))
    total = found.total
    if not total.refused:
        what = counted(total.calls, "call")
        said = f"{found.days}: none of {what} would have been refused" if total.calls else f"{found.days}: no call"
        say(said)
    else:
        missed = f"{counted(total.customers, 'customer')} would have missed an answer"
        if total.without_text:
            missed += f", of {counted(total.without_text, 'refused call')} nobody knows whom it was for"
        saved = f"{total.saved_usd:.2f} USD saved"
        unpriced = f" and {counted(total.unpriced, 'call')} without a price" if total.unpriced else ""
        say(f"{total.refused:,} of {counted(total.calls, 'call')} refused; {missed}; {saved}{unpriced}")
    if found.archived_days:
        which = f"{found.archived_days[0]} … {found.archived_days[-1]}"
        say(f"{counted(len(found.archived_days), 'day')} ({which}) archived: what was deleted of them is not counted")


def _row(each: ReplayedBusiness) -> dict[str, str]:
    return {
        "business": shown_name(each.business),
        "refused": f"{each.refused:,}",
        "of": f"{each.calls:,}",
        "days": f"{each.days_refused:,}",
        "tokens": f"{each.refused_tokens:,}",
        "USD saved": f"{each.saved_usd:.4f}",
        "customers": f"{each.customers:,}",
        "no text known": f"{each.without_text:,}",
    }


def propose(
    *, business: BusinessOption = None, first: FromOption = None, last: ToOption = None, as_json: JsonOption = False
) -> None:
    """Propose a daily limit for each business: twice the 99th percentile of its days; default is eight weeks."""
    settings = load_settings()
    require_text(("--business", business))
    days = _days(settings, first, last, _WEEKS_OF_A_PROPOSAL)
    with event_transaction(settings) as connection:
        chosen = find_business(connection, business) if business else None
        found = propose_limits(connection, days, chosen)
        missing = len(days) - len(complete_days(connection, days, settings.zone))
    if as_json:
        print_json([{**asdict(each), "proposed_tokens": each.proposed_tokens} for each in found])
        return
    rows = [
        {
            "business": shown_name(each.business),
            "days": f"{each.days:,}",
            "p99 of a day": f"{each.p99_tokens:,}",
            "limit now": "none" if each.limit_tokens is None else f"{each.limit_tokens:,}",
            "proposed": f"fewer than {MIN_DAYS} days" if each.proposed_tokens is None else f"{each.proposed_tokens:,}",
        }
        for each in found
    ]
    print_rows(rows, title=f"tokens a day, {days}", right=("days", "p99 of a day", "limit now", "proposed"))
    if not found:
        say(f"{days}: no OpenAI usage was rolled up")
    if missing:
        say(f"{missing} of {counted(len(days), 'day')} not rolled up after the end, so not in it")


def _days(settings: Settings, first: str | None, last: str | None, weeks: int) -> DayRange:
    """Return the days that the options name; by default the last weeks, up to yesterday."""
    if first is not None or last is not None:
        return parse_days(settings, None, first, last, default=today(settings), partitions_only=False)
    yesterday = today(settings) - timedelta(days=1)
    return DayRange(yesterday - timedelta(days=7 * weeks - 1), yesterday)
