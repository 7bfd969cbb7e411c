"""``smarttext access``: what the public roles may still do; and how the user agrees to changes of objects of others."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console

from smarttext_pipelines.cli.options import JsonOption
from smarttext_pipelines.cli.printing import print_json, print_rows
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.launch.databases import event_database
from smarttext_pipelines.schema.adoption.adopt import Agree, read_facts, revoke_writers, writing_roles
from smarttext_pipelines.schema.adoption.change import Change
from smarttext_pipelines.settings import load_settings

_console = Console(highlight=False, soft_wrap=True, markup=False)

_RECORDED = "The state before is kept in monitoring.adoption_record."

YesOption = Annotated[bool, typer.Option("--yes", help="Agree to the table of what will change; for scripts.")]


def agreement(*, yes: bool, then: str = _RECORDED) -> Agree:
    """Return the function that shows the table of changes, says ``then`` and asks; ``--yes`` means agreed."""

    def agree(changes: Sequence[Change]) -> None:
        print_rows([{"object": change.what, "now": change.now, "then": change.then} for change in changes])
        if yes:
            return
        if not sys.stdin.isatty():
            msg = "nothing was changed: there is no terminal to ask on; read the table, then add --yes"
            raise InputError(msg)
        _console.print(f"\n{then}")
        try:
            agreed = typer.confirm("Change this?", default=False)
        except typer.Abort:
            agreed = False
        if not agreed:
            msg = "nothing was changed: you did not agree; --yes agrees without being asked"
            raise InputError(msg)

    return agree


def access(
    *,
    revoke: Annotated[
        bool,
        typer.Option(
            "--revoke-writers", help="Take what the public roles have left, once the application has its service key."
        ),
    ] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show which public roles write the application's tables, or revoke that right."""
    with event_database(load_settings()) as (_, engine):
        if not revoke:
            with connected(engine) as connection:
                found = writing_roles(read_facts(connection))
            if as_json:
                print_json({role: list(tables) for role, tables in found.items()})
                return
            for role, tables in found.items():
                _console.print(f"{role} writes {', '.join(tables)}")
            if not found:
                _console.print("no public role writes the application's tables")
            return
        changes = revoke_writers(engine, agreement(yes=yes))
        done = "revoked" if changes else "nothing was left to revoke"
        _console.print(f"{done}; migrate does not give it back")
