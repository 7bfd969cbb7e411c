"""The Typer app: which commands there are. What they do is in a module each, imported when one is called."""

from contextlib import suppress
from importlib.metadata import version
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from smarttext_pipelines.cli import (
    alert_commands,
    anomaly_commands,
    budget_commands,
    budget_replay_command,
    budget_tokens_command,
    customer_commands,
    customer_list_commands,
    database_commands,
    digest_command,
    doctor_command,
    economics_command,
    explain_command,
    lake_commands,
    receiver_command,
    reconcile_command,
    report_command,
    retention_commands,
    rights_table,
    robocaller_command,
    rollup_commands,
    simulate_command,
    stats_command,
    web_command,
)
from smarttext_pipelines.cli.printing import say, telling
from smarttext_pipelines.core.display import shown
from smarttext_pipelines.core.errors import SettingsError, SmartTextError
from smarttext_pipelines.sentry.capture import watch_process
from smarttext_pipelines.settings import load_settings

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    epilog="Exit codes: 0 done, 1 look at it, 2 mistake or refusal, 3 a day was not rolled up; see docs/commands.md.",
)


def _print_version(asked: bool) -> None:
    if asked:
        say(f"smarttext {version('smarttext-pipelines')}")
        raise typer.Exit


_ENDLESS = frozenset({"up", "web", "receiver", "sampler", "simulate"})
"""Commands that go on until somebody stops them, or tell more themselves."""


@app.callback()
def _options(
    context: typer.Context,
    *,
    is_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Daily statistics, failure rates and spend of SmartText."""
    if context.invoked_subcommand not in _ENDLESS:
        context.with_resource(telling(f"smarttext {context.invoked_subcommand}"))


app.command("up")(database_commands.up)
app.command("doctor")(doctor_command.doctor)
app.command("migrate")(database_commands.migrate)
app.command("access")(rights_table.access)
app.command("change-zone")(database_commands.change_zone)
app.command("rollup")(rollup_commands.rollup)
app.command("stats")(stats_command.stats)
app.command("digest")(digest_command.digest)
app.command("report")(report_command.report)
app.command("explain")(explain_command.explain)
app.command("reconcile")(reconcile_command.reconcile)
app.command("receiver")(receiver_command.receiver)
app.command("web")(web_command.web)
app.command("sampler")(web_command.sampler)
budget_commands.app.command("replay")(budget_replay_command.replay)
budget_commands.app.command("propose")(budget_replay_command.propose)
budget_commands.app.command("tokens")(budget_tokens_command.tokens)
app.add_typer(budget_commands.app, name="budgets")
app.command("economics")(economics_command.economics)
app.command("reset-openai")(budget_commands.reset_openai)
app.command("simulate")(simulate_command.simulate)
app.add_typer(alert_commands.app, name="alerts")
app.add_typer(anomaly_commands.app, name="anomalies")
customer_commands.app.command("list")(customer_list_commands.list_customers)
customer_commands.app.command("show")(customer_list_commands.show_customer)
customer_commands.app.command("robocallers")(robocaller_command.robocallers)
app.add_typer(customer_commands.app, name="customers")
app.add_typer(retention_commands.app, name="retention")
app.add_typer(lake_commands.app, name="lake")
app.command("erase")(retention_commands.erase)
app.command("cleanup", hidden=True)(retention_commands.cleanup)
app.command("update-daily-stats", hidden=True)(rollup_commands.update_daily_stats)


_LONGEST_REFUSAL = 4000


def run() -> int:
    """Run the command of this process and return its exit code."""
    _watch()
    try:
        app(standalone_mode=True)
    except SmartTextError as error:
        return _refuse(str(error))
    except UnicodeEncodeError:
        return _refuse("an argument holds bytes that are no UTF-8 text; write it again")
    return 0


def _refuse(said: str) -> int:
    words = shown(said, _LONGEST_REFUSAL)
    Console(stderr=True, soft_wrap=True, highlight=False).print(Text.assemble(("error:", "red"), " ", words))
    return 2


def _watch() -> None:
    """Redact the logs of this command, and report our own faults to Sentry, not a user's mistakes."""
    with suppress(SettingsError):  # the command says so itself
        watch_process(load_settings(), "cli")
