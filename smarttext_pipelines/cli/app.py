"""The Typer app: which commands there are. What they do is in a module each, imported when one is called."""

from contextlib import suppress

import typer
from rich.console import Console
from rich.text import Text

from smarttext_pipelines.cli import (
    access,
    alerts,
    budgets,
    database,
    digest,
    doctor,
    explain,
    receiver,
    retention,
    rollup,
    simulate,
    stats,
)
from smarttext_pipelines.core.errors import SettingsError, SmartTextError
from smarttext_pipelines.core.shown import shown
from smarttext_pipelines.providers.sentry import watch_process
from smarttext_pipelines.settings import load_settings

app = typer.Typer(
    help="Daily statistics, failure rates and spend of SmartText.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("up")(database.up)
app.command("doctor")(doctor.doctor)
app.command("migrate")(database.migrate)
app.command("access")(access.access)
app.command("change-zone")(database.change_zone)
app.command("rollup")(rollup.rollup)
app.command("stats")(stats.stats)
app.command("digest")(digest.digest)
app.command("explain")(explain.explain)
app.command("receiver")(receiver.receiver)
app.add_typer(budgets.app, name="budgets")
app.command("reset-openai")(budgets.reset_openai)
app.command("simulate")(simulate.simulate)
app.add_typer(alerts.app, name="alerts")
app.add_typer(retention.app, name="retention")
app.command("erase")(retention.erase)
app.command("cleanup", hidden=True)(retention.cleanup)
app.command("update-daily-stats", hidden=True)(rollup.update_daily_stats)


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
    """Scrub the logs of this command, and tell Sentry of a fault of ours; a user's mistake is none."""
    with suppress(SettingsError):  # the command says so itself
        watch_process(load_settings(), "cli")
