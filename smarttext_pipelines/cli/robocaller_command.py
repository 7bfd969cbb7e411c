"""``smarttext customers robocallers``: who calls many businesses, or one of them all day, by key."""

from collections.abc import Collection
from dataclasses import asdict
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import typer

from smarttext_pipelines.cli.options import (
    NOT_COMPUTED,
    BusinessOption,
    DateOption,
    FromOption,
    JsonOption,
    ToOption,
    find_business,
    parse_days,
    require_text,
    today,
)
from smarttext_pipelines.cli.printing import print_json, print_rows, say
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.customers.robocallers import DAYS
from smarttext_pipelines.launch.databases import event_transaction
from smarttext_pipelines.settings import load_settings

if TYPE_CHECKING:
    from smarttext_pipelines.customers.robocaller_list import Robocaller

_MOST = 100
_NUMBERS = ("businesses", "most a day", "calls", "missed", "texts", "texts USD", "OpenAI USD")


def robocallers(
    *,
    business: BusinessOption = None,
    day: DateOption = None,
    first: FromOption = None,
    last: ToOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show likely robocallers by key; default is yesterday. Exit code 3: one of a day's seven was not rolled up."""
    from smarttext_pipelines.customers.robocaller_list import list_robocallers
    from smarttext_pipelines.digest.robocall_figures import limits_of

    require_text(("--business", business))
    settings = load_settings()
    limits = limits_of(settings)
    yesterday = today(settings) - timedelta(days=1)
    days = parse_days(settings, day, first, last, default=yesterday, partitions_only=False)
    with event_transaction(settings) as connection:
        chosen = find_business(connection, business) if business else None
        found, unknown = list_robocallers(connection, days, limits, settings.zone, chosen, _MOST + 1)
    if as_json:
        print_json([_as_json(each) for each in found[:_MOST]])
    else:
        print_rows([_cells(each) for each in found[:_MOST]], right=_NUMBERS)
        more = " or more" if len(found) > _MOST else ""
        say(
            f"{counted(min(len(found), _MOST), 'likely robocaller')}{more}: {limits.businesses} businesses or more "
            f"within 7 days, or more than {limits.daily_calls} calls of one on a day"
        )
        say("nothing is blocked; whether to text or answer them is for the application to decide")
    if unknown:
        typer.echo(_unknown(unknown), err=True)
        raise typer.Exit(NOT_COMPUTED)


def _unknown(days: Collection[date]) -> str:
    first, last = min(days) - timedelta(days=DAYS - 1), max(days)
    said = f"unknown for {counted(len(days), 'day')}: the seven days that end with each must be rolled up"
    return f"{said}; run `smarttext rollup --from {first} --to {last}`"


def _as_json(each: "Robocaller") -> dict[str, Any]:
    known = asdict(each)
    did = known.pop("robocalls")
    return known | {name: did[name] for name in did if name not in known and name != "callers"}


def _cells(each: "Robocaller") -> dict[str, Any]:
    from smarttext_pipelines.customers.customer_totals import SHORT_KEY

    did = each.robocalls
    return {
        "customer": each.customer_key[:SHORT_KEY],
        "businesses": each.businesses,
        "most a day": each.most_a_day,
        "calls": did.calls,
        "missed": did.missed,
        "texts": did.texts,
        "texts USD": "–" if did.texts_usd is None else f"{did.texts_usd:.4f}",
        "OpenAI USD": f"{did.openai_usd:.4f}",
        "first": each.first_day,
        "last": each.last_day,
    }
