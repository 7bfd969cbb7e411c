"""``smarttext budgets`` and ``reset-openai``: what businesses may spend on OpenAI."""

import getpass
from dataclasses import asdict
from decimal import Decimal, InvalidOperation
from typing import Annotated
from uuid import UUID, uuid4

import typer
from sqlalchemy import Connection

from smarttext_pipelines.budgets import ledger
from smarttext_pipelines.cli.lazy_commands import add_lazily
from smarttext_pipelines.cli.options import BusinessOption, JsonOption, UnattributedOption, find_business
from smarttext_pipelines.cli.printing import local_time, print_json, print_rows, reporting_zone, say
from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.launch.databases import event_transaction
from smarttext_pipelines.settings import load_settings

app = typer.Typer(help="Show and set what businesses may spend on OpenAI.", no_args_is_help=True)
MAX_TOKENS = 10**15
USD_STEP = Decimal("0.000001")

TokensOption = Annotated[
    int | None, typer.Option("--tokens", metavar="N", min=0, max=MAX_TOKENS, help="Tokens of a reporting day.")
]
UsdOption = Annotated[str | None, typer.Option("--usd", metavar="USD", help="USD of a reporting day.")]
MoreTokensOption = Annotated[
    int | None, typer.Option("--tokens", metavar="N", min=0, max=MAX_TOKENS, help="More tokens, today.")
]
MoreUsdOption = Annotated[str | None, typer.Option("--usd", metavar="USD", help="More USD, today.")]
ByOption = Annotated[str | None, typer.Option("--by", help="Who does it; default is your user name.")]


@app.command("show")
def show(*, business: BusinessOption = None, as_json: JsonOption = False) -> None:
    """Show today's use against the limits, the most used first."""
    _require_text(("--business", business))
    with event_transaction(load_settings()) as connection:
        chosen = find_business(connection, business) if business else None
        used = ledger.read_budgets(connection, chosen if business else ledger.EVERY)
    if as_json:
        print_json([asdict(b) for b in used])
        return
    if not used:
        say("no OpenAI usage today")
        return
    has_usd_limits = any(b.allowed_usd is not None for b in used)
    names = ("used", "held", "allowed", "%", "USD", *(["of USD"] if has_usd_limits else []), "refused", "limit at")
    rows = [
        {
            "business": shown_name(b.business),
            **dict(zip(names, _cells(b, has_usd_limits=has_usd_limits), strict=True)),
        }
        for b in used
    ]
    print_rows(rows, title=f"OpenAI budgets today (times: {reporting_zone().key})", right=names)


def _cells(b: ledger.BudgetUse, *, has_usd_limits: bool) -> list[str]:
    allowed = ["–" if amount is None else f"{amount:,f}" for amount in (b.allowed_tokens, b.allowed_usd)]
    usd = [f"{b.used_usd:.4f}", *([allowed[1]] if has_usd_limits else [])]
    share = "–" if b.percent is None else f"{b.percent:.0f}"
    at = local_time(b.reached_at, "%H:%M") if b.reached_at else "–"
    return [f"{b.used_tokens:,}", f"{b.reserved_tokens:,}", allowed[0], share, *usd, f"{b.refused:,}", at]


@app.command("set")
def set_(
    *,
    business: BusinessOption = None,
    plan: Annotated[str | None, typer.Option("--plan", help="Every business of this plan.")] = None,
    default: Annotated[bool, typer.Option("--default", help="Every business without a limit of its own.")] = False,
    unattributed: UnattributedOption = False,
    tokens: TokensOption = None,
    usd: UsdOption = None,
    unlimited: Annotated[bool, typer.Option("--unlimited", help="No limit at all.")] = False,
    by: ByOption = None,
) -> None:
    """Set the limit of a day, from today on; a unit that is not given has none."""
    _require_text(("--business", business), ("--plan", plan), ("--usd", usd), ("--by", by))
    if sum((business is not None, plan is not None, default, unattributed)) != 1:
        msg = "name one of --business, --plan, --default and --unattributed"
        raise InputError(msg)
    if unlimited == (tokens is not None or usd is not None):
        msg = "give --tokens, --usd or both; or --unlimited alone"
        raise InputError(msg)
    amount = _usd(usd)
    with event_transaction(load_settings()) as connection:
        scope, name, shown = "default" if default else "unattributed", "", ""
        if business is not None:
            chosen = find_business(connection, business)
            scope, name, shown = "business", str(chosen), f" {shown_name(ledger.name_of(connection, chosen))}"
        elif plan is not None:
            require_plan(connection, plan)
            scope, name, shown = "plan", plan, f" {plan}"
        ledger.set_limit(connection, scope, name, tokens, amount, by or getpass.getuser())
    limits = _amounts(tokens, amount)
    say(f"{scope}{shown}: {f'{limits} a day' if limits else 'no limit'}")


@app.command("grant")
def grant(
    *,
    business: BusinessOption = None,
    unattributed: UnattributedOption = False,
    tokens: MoreTokensOption = None,
    usd: MoreUsdOption = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept.")],
    grant_id: Annotated[str | None, typer.Option("--id", help="A repeated id grants nothing more.")] = None,
    by: ByOption = None,
) -> None:
    """Allow more today, beyond the limit."""
    _require_text(
        ("--business", business), ("--usd", usd), ("--reason", reason), ("--id", grant_id), ("--by", by)
    )  # fmt: skip
    if (business is None) != unattributed:
        msg = "name one of --business and --unattributed"
        raise InputError(msg)
    amount = _usd(usd)
    if not tokens and not amount:
        msg = "give --tokens, --usd or both"
        raise InputError(msg)
    with event_transaction(load_settings()) as connection:
        chosen: UUID | None = find_business(connection, business) if business else None
        done = ledger.grant(
            connection, chosen, tokens or 0, amount or Decimal(0),
            grant_id=grant_id or str(uuid4()), author=by or getpass.getuser(), reason=reason,
        )  # fmt: skip
        name = shown_name(ledger.name_of(connection, chosen))
    given = _amounts(done.tokens or None, done.usd or None)
    if done.is_new:
        allowed = _amounts(done.allowed_tokens, done.allowed_usd)
        say(
            f"{name}: {given} more today (id {done.grant_id}); "
            + (f"{allowed} are allowed now" if allowed else "there was no limit before either")
        )
    else:
        say(f"{done.grant_id} gave {name} {given} on {done.day} already; nothing is added")


def reset_openai(*, business: BusinessOption = None) -> None:
    """Note that the OpenAI day was opened; touches no usage and hands out no allowance."""
    _require_text(("--business", business))
    with event_transaction(load_settings()) as connection:
        ledger.open_day(connection, find_business(connection, business) if business else None)
    more = "`smarttext budgets grant --business NAME --tokens N --reason TEXT`"
    say(f"the day is open; usage and limits are as they were (more for today: {more})")


def _require_text(*options: tuple[str, str | None]) -> None:
    """Reject an option whose value is empty: it would count as not given, and change something else."""
    for name, value in options:
        if value is not None and not value.strip():
            msg = f"{name} is empty; {_ADVICE.get(name, 'give a value or leave it out')}"
            raise InputError(msg)


_ADVICE = {
    "--business": "write an id, a name or part of a name",
    "--plan": "write the name of a plan",
    "--usd": "write an amount such as 12.50",
    "--reason": "say why",
    "--id": "write an id, or leave it out",
    "--by": "say who does it, or leave it out",
}


def require_plan(connection: Connection, plan: str) -> None:
    """Raise InputError for a plan that no business has."""
    plans = ledger.plans(connection)
    if plan not in plans:
        msg = f"no business has that plan; there are {', '.join(plans)}" if plans else "no business has a plan yet"
        raise InputError(msg)


def _amounts(tokens: Decimal | int | None, usd: Decimal | None) -> str:
    """Return such as ``5,000 tokens and 1.50 USD``; nothing for no amount."""
    said = [] if tokens is None else [counted(int(tokens), "token")]
    return " and ".join(said if usd is None else [*said, f"{usd:,f} USD"])


def _usd(text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 <= amount < 10**12:
        msg = f"'{text}' is no amount in USD; write it as 12.50"
        raise InputError(msg)
    if amount != amount.quantize(USD_STEP):
        msg = f"'{text}' is finer than a millionth of a USD; write at most six decimals"
        raise InputError(msg)
    return abs(amount)


add_lazily(
    app,
    "replay",
    "budget_replay_command:replay",
    "Show what a daily limit would have refused, as the guard would have; default is the last four weeks.",
)
add_lazily(
    app,
    "propose",
    "budget_replay_command:propose",
    "Propose a daily limit for each business: twice the 99th percentile of its days; default is eight weeks.",
)
add_lazily(
    app,
    "tokens",
    "budget_tokens_command:tokens",
    "Show tokens a request, p50 and p95, by week, business, model and endpoint; default is eight weeks.",
)
