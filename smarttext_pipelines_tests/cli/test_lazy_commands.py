"""Lists of commands: they say what the commands say of themselves, and nothing of them is imported for it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command

from smarttext_pipelines.cli.lazy_commands import LazyCommand
from smarttext_pipelines.cli.main import app
from smarttext_pipelines_tests.conftest import Database

_RUN = """
import contextlib, io, sys
import typer.rich_utils, typer.completion
known = {*sys.stdlib_module_names, *(name.split(".")[0] for name in sys.modules)}
from smarttext_pipelines.cli.main import run
with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
    run()
print(*sorted(name for name in sys.modules if name.split(".")[0] not in known))
print(said.getvalue())
"""
_OURS = {"", ".cli", ".cli.main", ".cli.lazy_commands", ".core", ".core.errors"}


def _run(*arguments: str, **environment: str) -> tuple[set[str], str]:
    """Return the modules that a command imported beyond what Typer brings, and what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", _RUN, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded, said = done.stdout.split("\n", 1)
    return set(loaded.split()), said


def _lazy(command: Any) -> Iterator[tuple[LazyCommand, Any]]:
    found = command.load() if isinstance(command, LazyCommand) else command
    if command is not found:
        yield command, found
    for each in getattr(found, "commands", {}).values():
        yield from _lazy(each)


def test_a_list_of_commands_says_what_each_says_of_itself() -> None:
    pairs = list(_lazy(get_command(app)))
    assert len(pairs) > 30
    for listed, found in pairs:
        assert (listed.name, listed.help) == (found.name, found.help.split("\n\n")[0].replace("\n", " "))


@pytest.mark.parametrize(
    ("arguments", "environment", "word"),
    [
        (("--help",), {}, "economics"),
        ((), {"_C_COMPLETE": "complete_bash", "COMP_WORDS": "smarttext econ", "COMP_CWORD": "1"}, "economics"),
    ],
    ids=["help", "completion"],
)
def test_help_and_completion_import_no_command_and_nothing_that_one_needs(
    arguments: tuple[str, ...], environment: dict[str, str], word: str
) -> None:
    loaded, said = _run(*arguments, **environment)
    assert loaded == {f"smarttext_pipelines{name}" for name in _OURS}
    assert word in said


def test_a_command_that_reads_a_few_rows_imports_no_graph_engine_migration_or_provider(database: Database) -> None:
    unused = {"adbc_driver_postgresql", "alembic", "dagster", "duckdb", "ibis", "matplotlib", "numpy", "pandas",
              "pyarrow", "requests", "slack_sdk", "starlette", "twilio", "yaml"}  # fmt: skip
    for command in ("stats", "alerts list", "budgets show"):
        loaded, _said = _run(*command.split(), SMARTTEXT_DATABASE_URL=database.url)
        assert "sqlalchemy" in loaded
        assert not unused & loaded, command
