"""``smarttext budgets`` and ``reset-openai``: what businesses may spend on OpenAI."""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from typing import Annotated
from uuid import UUID, uuid4

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection

from smarttext_pipelines.cli.options import BusinessOption, find_business
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.launch.databases import event_database
from smarttext_pipelines.settings import load_settings
from smarttext_pipelines.storage import budgets
from smarttext_pipelines.storage.connect import connected

app = typer.Typer(help="Show and set what businesses may spend on OpenAI.", no_args_is_help=True)
_console = Console(highlight=False, soft_wrap=True)

UnattributedOption = Annotated[bool, typer.Option("--unattributed", help="Usage that names no business.")]
TokensOption = Annotated[int | None, typer.Option("--tokens", min=0, max=2**62, help="Tokens of a reporting day.")]
UsdOption = Annotated[str | None, typer.Option("--usd", help="USD of a reporting day.")]
ByOption = Annotated[str | None, typer.Option("--by", help="Who does it; default is your user name.")]


@contextmanager
def _writing() -> Iterator[Connection]:
    with event_database(load_settings()) as (_, engine), connected(engine) as connection, connection.begin():
        yield connection


@app.command("show")
def show(*, business: BusinessOption = None) -> None:
    """Show today's use against the limits, the most used first."""
    with _writing() as connection:
        chosen = find_business(connection, business) if business else None
        used = [b for b in budgets.read_budgets(connection) if not business or b.business_id == chosen]
    if not used:
        _console.print("no OpenAI usage today")
        return
    has_usd_limits = any(b.allowed_usd is not None for b in used)
    table = Table(title="OpenAI budgets today")
    table.add_column("business", min_width=13)
    for name in ("used", "held", "allowed", "%", "USD", *(["of USD"] if has_usd_limits else []), "refused", "limit at"):
        table.add_column(name, justify="right", no_wrap=True)
    for b in used:
        table.add_row(b.business, *_cells(b, has_usd_limits=has_usd_limits))
    Console(highlight=False).print(table)


def _cells(b: budgets.BudgetUse, *, has_usd_limits: bool) -> list[str]:
    allowed = ["–" if amount is None else f"{amount:,}" for amount in (b.allowed_tokens, b.allowed_usd)]
    usd = [f"{b.used_usd:.4f}", *([allowed[1]] if has_usd_limits else [])]
    share = "–" if b.percent is None else f"{b.percent:.0f}"
    at = f"{b.reached_at:%H:%M} UTC" if b.reached_at else "–"
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
    if sum((business is not None, plan is not None, default, unattributed)) != 1:
        msg = "name one of --business, --plan, --default and --unattributed"
        raise InputError(msg)
    if unlimited == (tokens is not None or usd is not None):
        msg = "give --tokens, --usd or both; or --unlimited alone"
        raise InputError(msg)
    amount = _usd(usd)
    with _writing() as connection:
        scope = "business" if business else "plan" if plan else "default" if default else "unattributed"
        name = str(find_business(connection, business)) if business else plan or ""
        budgets.set_limit(connection, scope, name, tokens, amount, by or getpass.getuser())
    limits = [] if tokens is None else [f"{tokens:,} tokens"]
    limits += [] if amount is None else [f"{amount} USD"]
    _console.print(f"{scope} {business or plan or ''}: {' and '.join(limits) or 'no limit'} a day".replace(" :", ":"))


@app.command("grant")
def grant(
    *,
    business: BusinessOption = None,
    unattributed: UnattributedOption = False,
    tokens: TokensOption = None,
    usd: UsdOption = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept.")],
    grant_id: Annotated[str | None, typer.Option("--id", help="A repeated id grants nothing more.")] = None,
    by: ByOption = None,
) -> None:
    """Allow more today, beyond the limit."""
    if (business is None) != unattributed:
        msg = "name one of --business and --unattributed"
        raise InputError(msg)
    if not tokens and not usd:
        msg = "give --tokens, --usd or both"
        raise InputError(msg)
    if not reason.strip():
        msg = "--reason is empty; say why"
        raise InputError(msg)
    id_ = grant_id or str(uuid4())
    with _writing() as connection:
        chosen: UUID | None = find_business(connection, business) if business else None
        done = budgets.grant(
            connection, chosen, tokens or 0, _usd(usd) or Decimal(0), grant_id=id_, author=by or getpass.getuser(),
            reason=reason,
        )  # fmt: skip
    _console.print(f"granted for today (id {id_})" if done else f"{id_} was granted before; nothing is added")


def reset_openai(*, business: BusinessOption = None) -> None:
    """Note that the OpenAI day was opened; touches no usage and hands out no allowance."""
    with _writing() as connection:
        budgets.open_day(connection, find_business(connection, business) if business else None)
    _console.print("the day is open; usage and limits are as they were (more for today: `smarttext budgets grant`)")


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
    return amount
