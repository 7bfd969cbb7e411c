"""``smarttext budgets tokens``: what a request to OpenAI uses, week by week, and whose requests nobody knows."""

from dataclasses import asdict
from datetime import date, timedelta

from smarttext_pipelines.budgets.request_tokens import (
    Attributed,
    RequestTokens,
    TokensOfRequests,
    monday,
    read_request_tokens,
    usual_days,
)
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
from smarttext_pipelines.core.display import shown, shown_name
from smarttext_pipelines.core.rates import percent
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.launch.databases import event_transaction
from smarttext_pipelines.settings import Settings, load_settings

_MOST, _LONGEST = 10, 40


def tokens(
    *, business: BusinessOption = None, first: FromOption = None, last: ToOption = None, as_json: JsonOption = False
) -> None:
    """Show tokens a request, p50 and p95, by week, business, model and endpoint; default is eight weeks.

    Also how many requests lead to no customer.
    """
    require_text(("--business", business))
    settings = load_settings()
    days = _days(settings, first, last)
    with telling("reading usage"), event_transaction(settings) as connection:
        chosen = find_business(connection, business) if business else None
        found = read_request_tokens(
            connection, days, settings.zone, business=chosen, by_business=as_json, most=None if as_json else _MOST + 1
        )
    if as_json:
        print_json({**asdict(found), "days": {"from": days.first, "to": days.last}})
    else:
        _print(found)


def _print(found: TokensOfRequests) -> None:
    series = list(dict.fromkeys((each.business_id, each.model, each.endpoint) for each in found.rows))
    told = [each for each in found.rows if (each.business_id, each.model, each.endpoint) in series[:_MOST]]
    title = f"tokens a request, {found.days}"
    print_rows([_row(each, found.days) for each in told], title=title, right=("requests", "p50", "p95", "tokens"))
    if len(series) > _MOST:
        say(f"the {_MOST} with the most tokens; name one with --business, or take --json")
    if not found.rows and not found.archived_days:
        say(f"{found.days}: no OpenAI request")
    if found.archived_days:
        weeks = counted(len({monday(day) for day in found.archived_days}), "week")
        which = f"{found.archived_days[0]} … {found.archived_days[-1]}"
        say(f"p50 and p95 are unknown for {weeks}: requests of {which} are in the archive")
    print_rows(
        [_whose(each, found.days) for each in found.attributed],
        title="requests that lead to no customer",
        right=("requests", "no customer", "%"),
    )
    if found.days_without_customers:
        said = f"{found.days_without_customers} of {counted(len(found.days), 'day')}"
        say(f"whose requests they were is unknown for {said}, not rolled up by customer")


def _row(each: RequestTokens, days: DayRange) -> dict[str, str]:
    return {
        "business": shown_name(each.business),
        "model": shown(each.model or "(none)", _LONGEST),
        "endpoint": shown(each.endpoint or "(none)", _LONGEST),
        "week of": _week(each.week, days),
        "requests": f"{each.requests:,}",
        "p50": "–" if each.p50 is None else f"{each.p50:,}",
        "p95": "–" if each.p95 is None else f"{each.p95:,}",
        "tokens": f"{each.tokens:,}",
    }


def _whose(each: Attributed, days: DayRange) -> dict[str, str]:
    return {
        "week of": _week(each.week, days),
        "requests": f"{each.requests:,}",
        "no customer": f"{each.without_customer:,}",
        "%": f"{percent(each.without_customer, each.requests) or 0:.2f}",
    }


def _week(first: date, days: DayRange) -> str:
    """Return its Monday; with dots where some of its days are not among those asked for."""
    is_whole = first in days and first + timedelta(days=6) in days
    return f"{first}{'' if is_whole else ' …'}"


def _days(settings: Settings, first: str | None, last: str | None) -> DayRange:
    """Return the days that the options name; by default the last weeks, the one of yesterday included."""
    usual = usual_days(today(settings))
    if first is not None or last is not None:
        return parse_days(settings, None, first, last, default=usual.last, partitions_only=False)
    return usual
