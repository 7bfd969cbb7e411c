"""Commands whose module is imported when one is run, completed or asked for its own help; to list them needs none."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, cast

import typer
from typer.core import TyperCommand
from typer.main import get_group


class LazyCommand(TyperCommand):
    """A command that stands for one in a module; its callback returns that one's function, or the group."""

    def load(self) -> Any:
        """Import the module and return the command, or the group of commands, that this one stands for."""
        name, find = cast("tuple[str, Callable[[], Any]]", (self.name, self.callback))
        found = find()
        holder = typer.Typer()
        if isinstance(found, typer.Typer):
            holder.add_typer(found, name=name)
        else:
            holder.command(name)(found)
        return get_group(holder).commands[name]

    def make_context(self, *args: Any, **extra: Any) -> Any:
        """Read the arguments as the command does that this one stands for."""
        return self.load().make_context(*args, **extra)


def add_lazily(app: typer.Typer, name: str, where: str, told: str, *, hidden: bool = False) -> None:
    """Add a command, or a group of commands, to an app or a group.

    Args:
        app: Where it is added.
        name: What is typed for it.
        where: ``MODULE:NAME``: the module of ``cli``, and the function or Typer app in it.
        told: The first paragraph of its help, as lists of commands show it.
        hidden: Whether lists of commands leave it out.
    """
    app.command(name, cls=LazyCommand, help=told, hidden=hidden)(_finder(where))


def _finder(where: str) -> Callable[[], Any]:
    module, attribute = where.split(":")

    def find() -> Any:
        return getattr(import_module(f"smarttext_pipelines.cli.{module}"), attribute)

    return find
