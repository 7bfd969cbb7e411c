"""Commands that notices, digests, refusals and runbooks tell people to run, filled with what is in a database."""

import ast
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

import smarttext_pipelines
from smarttext_pipelines.alerting.notify.markup import PLAIN
from smarttext_pipelines.alerting.notify.message import full_text
from smarttext_pipelines.cli.lazy_commands import LazyCommand
from smarttext_pipelines.cli.main import app
from smarttext_pipelines.digest.text import digest_lines
from smarttext_pipelines_tests.digest.scripted import BAD, DAY, SCRIPTED
from smarttext_pipelines_tests.messages import samples

PACKAGE = Path(smarttext_pipelines.__file__).parent
TESTS = Path(__file__).parent
COMMAND = re.compile(r"`smarttext ([^`]+)`")
SERVERS = frozenset({"up", "web", "receiver", "sampler"})
"""They go on until somebody stops them; only what was typed is looked at."""

_UUID = re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_DATE = re.compile(r"\b20\d\d-\d\d-\d\d\b")
_VALUE = re.compile(r"\{[^{}]*\}")


def commands(text: str) -> list[str]:
    """Return the commands in backticks in a text."""
    return [" ".join(found.split()) for found in COMMAND.findall(text)]


def of_notices() -> dict[str, list[str]]:
    """Return the commands of every sample notice."""
    return {what: commands(full_text(message, PLAIN)) for what, message in samples().items()}


def of_digests() -> dict[str, list[str]]:
    """Return the commands of every scripted digest, also on the day after a bad one."""
    return {
        name: commands("\n".join([*digest_lines(facts), *digest_lines(facts, BAD)]))
        for name, (facts, _) in SCRIPTED.items()
        if facts.day >= DAY
    }


def of_goldens() -> dict[str, list[str]]:
    """Return the commands of the texts that tests keep and compare."""
    kept = {path.name: path.read_text() for path in TESTS.rglob("*.txt")}
    said = {path.name: "\n".join(_literals(path)) for path in TESTS.rglob("test_*.py")}
    return {name: found for name, text in (kept | said).items() if (found := commands(text))}


def of_refusals() -> dict[str, list[str]]:
    """Return the commands of every sentence of the package, be it a refusal, a next step or the help of an option."""
    said = {str(path.relative_to(PACKAGE)): "\n".join(_literals(path)) for path in PACKAGE.rglob("*.py")}
    said |= {str(path.relative_to(PACKAGE)): path.read_text() for path in PACKAGE.rglob("*.csv")}
    return {name: found for name, text in said.items() if (found := commands(text))}


def refusals() -> dict[str, str]:
    """Return what the command line and alerting say where they refuse something, by module and line."""
    found = {}
    for path in sorted([*PACKAGE.joinpath("cli").glob("*.py"), *PACKAGE.joinpath("alerting").rglob("*.py")]):
        for function in (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef)):
            said = ""
            for node in sorted((n for n in ast.walk(function) if hasattr(n, "lineno")), key=lambda n: n.lineno):
                if isinstance(node, ast.Assign | ast.AugAssign) and "msg" in ast.unparse(node).split("=")[0]:
                    said = ast.unparse(node.value) if isinstance(node, ast.Assign) else said + ast.unparse(node.value)
                elif isinstance(node, ast.Raise) and "InputError" in ast.unparse(node):
                    found[f"{path.relative_to(PACKAGE)}:{node.lineno}"] = said
    return found


def of_runbooks() -> dict[str, list[str]]:
    """Return the commands of every runbook."""
    pages = sorted((PACKAGE / "alerting" / "runbooks").glob("*.md"))
    return {page.stem: commands(page.read_text()) for page in pages}


def _literals(path: Path) -> Iterator[str]:
    """Return the texts of a module but its docstrings, with the expressions of f-strings in braces."""
    tree = ast.parse(path.read_text())
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(_part(part) for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and not {id(node)} & (docs | parts):
            yield node.value


def _part(part: ast.expr) -> str:
    return "{" + ast.unparse(part.value) + "}" if isinstance(part, ast.FormattedValue) else str(part.value)  # type: ignore[attr-defined]


def filled(command: str, there: Mapping[str, str]) -> list[str]:
    """Return the words of a command with what is in a database in place of ids, days and placeholders.

    Args:
        command: Without ``smarttext``.
        there: What stands for a name in capitals; ``{…}`` for expressions that a program fills.
    """
    said = _UUID.sub(there["BUSINESS"], _DATE.sub(there["DATE"], command))
    said = _VALUE.sub(lambda found: there[found[0]], said)
    said = re.sub(r"(?<=alerts show )\d+|(?<=alerts runbook )\d+", there["INCIDENT"], said)
    words = [there.get(word, word) for word in shlex.split(said)]
    return [word.split("|")[0] for word in words]


def every_command() -> Any:
    """Return the command line with each of its commands imported."""

    def imported(command: Any) -> Any:
        found = command.load() if isinstance(command, LazyCommand) else command
        for name, each in getattr(found, "commands", {}).items():
            found.commands[name] = imported(each)
        return found

    return imported(typer.main.get_command(app))


def mistake(words: list[str]) -> str:
    """Return what the command line says against a command, before anything runs; empty where it can be run."""
    try:
        context: Any = typer.main.get_command(app).make_context("smarttext", list(words))
        while hasattr(context.command, "resolve_command"):
            typed = [*context._protected_args, *context.args]
            name, command, rest = context.command.resolve_command(context, typed)
            context = command.make_context(name, list(rest), parent=context)
    except Exception as error:
        if getattr(error, "exit_code", None) != 2:
            raise
        return f"{error}"
    return ""
