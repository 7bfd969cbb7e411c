"""The Typer app: which commands there are. What they do is in a module each, imported when one is called."""

from contextlib import suppress
from typing import Annotated

import typer

from smarttext_pipelines.cli.lazy_commands import add_lazily
from smarttext_pipelines.core.errors import SettingsError, SmartTextError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    epilog="Exit codes: 0 done, 1 look at it, 2 mistake or refusal, 3 a day was not rolled up; see docs/commands.md.",
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"smarttext {version('smarttext-pipelines')}")
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
    # Not at the top: help and completion need neither settings nor tables.
    from smarttext_pipelines.cli.printing import telling

    _watch()
    if context.invoked_subcommand not in _ENDLESS:
        context.with_resource(telling(f"smarttext {context.invoked_subcommand}"))


add_lazily(
    app,
    "up",
    "database_commands:up",
    "Start everything on this machine and stop it on Ctrl-C. Exit code 1: a process of it ended.",
)
add_lazily(
    app,
    "doctor",
    "doctor_command:doctor",
    "Say what works, what does not, and what to do; exit code 0, 1 (look at it) or 2 (does not work).",
)
add_lazily(
    app,
    "migrate",
    "database_commands:migrate",
    "Bring the database to the newest schema; adopts a database that already holds the tables.",
)
add_lazily(
    app,
    "access",
    "rights_table:access",
    "Show which public roles write the application's tables, or revoke that right.",
)
add_lazily(
    app,
    "change-zone",
    "database_commands:change_zone",
    "Report in another time zone from now on, and say which days to recompute.",
)
add_lazily(app, "rollup", "rollup_commands:rollup", "Roll up a day or a range of days; default is yesterday.")
add_lazily(
    app,
    "stats",
    "stats_command:stats",
    "Show daily_stats of a day or a range of days; default is yesterday. Exit code 3: a day was not rolled up.",
)
add_lazily(
    app,
    "digest",
    "digest_command:digest",
    "Print the digest of a day; default is yesterday. Nothing is sent. Exit code 3: it was not rolled up.",
)
add_lazily(
    app,
    "report",
    "report_command:report",
    "Tell a business its month: missed calls, what became of them, what failed, what it cost, what is not known.",
)
add_lazily(
    app,
    "explain",
    "explain_command:explain",
    "Show the rows behind a number, a call, a message, a caller, a customer or an incident; numbers are masked.",
)
add_lazily(
    app,
    "reconcile",
    "reconcile_command:reconcile",
    "Compare a month of messages with Twilio's list: what is only here, only there, or different, and why.",
)
add_lazily(
    app,
    "receiver",
    "receiver_command:receiver",
    "Receive Twilio's status callbacks at SMARTTEXT_RECEIVER_URL until it is interrupted; GET /healthz and /readyz.",
)
add_lazily(
    app,
    "web",
    "web_command:web",
    "Serve the dashboard until it is interrupted; on another address it needs SMARTTEXT_WEB_AUTH.",
)
add_lazily(
    app,
    "sampler",
    "web_command:sampler",
    "Count today whenever events come in, for the dashboard, until it is interrupted.",
)
add_lazily(
    app,
    "economics",
    "economics_command:economics",
    "Show what each business costs and pays in a month, who costs more than it pays, and customers not reached.",
)
add_lazily(
    app,
    "reset-openai",
    "budget_commands:reset_openai",
    "Note that the OpenAI day was opened; touches no usage and hands out no allowance.",
)
add_lazily(app, "simulate", "simulate_command:simulate", "Write sample events.")
add_lazily(
    app,
    "erase",
    "erase_command:erase",
    "Delete every row that mentions a person's number, from the tables, the archive and the lake, and its key.",
)
add_lazily(
    app,
    "cleanup",
    "retention_commands:cleanup",
    "Archive and delete old days; has the name of the old cron script.",
    hidden=True,
)
add_lazily(
    app,
    "update-daily-stats",
    "rollup_commands:update_daily_stats",
    "Roll up a day; has the name of the old cron script; default is yesterday.",
    hidden=True,
)
add_lazily(app, "budgets", "budget_commands:app", "Show and set what businesses may spend on OpenAI.")
add_lazily(app, "alerts", "alert_commands:app", "Incidents and their notifications.")
add_lazily(app, "anomalies", "anomaly_commands:app", "Show what was unusual, and say what it was.")
add_lazily(
    app,
    "customers",
    "customer_commands:app",
    "Show the people who call and text businesses, and whom businesses text; with --business, as `list` does.",
)
add_lazily(
    app, "retention", "retention_commands:app", "Archive old events, delete only what was read back, restore it."
)
add_lazily(app, "lake", "lake_commands:app", "Daily copies of the events as Parquet, for engines that read files.")


_LONGEST_REFUSAL = 4000


def run() -> int:
    """Run the command of this process and return its exit code."""
    try:
        app(standalone_mode=True)
    except SmartTextError as error:
        return _refuse(str(error))
    except UnicodeEncodeError:
        return _refuse("an argument holds bytes that are no UTF-8 text; write it again")
    return 0


def _refuse(said: str) -> int:
    from rich.console import Console
    from rich.text import Text

    from smarttext_pipelines.core.display import shown

    words = shown(said, _LONGEST_REFUSAL)
    Console(stderr=True, soft_wrap=True, highlight=False).print(Text.assemble(("error:", "red"), " ", words))
    return 2


def _watch() -> None:
    """Redact the logs of this command, and report our own faults to Sentry, not a user's mistakes."""
    from smarttext_pipelines.sentry.capture import watch_process
    from smarttext_pipelines.settings import load_settings

    with suppress(SettingsError):  # the command says so itself
        watch_process(load_settings(), "cli")
