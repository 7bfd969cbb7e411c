"""Terminals of any width: a table that does not fit becomes blocks, and no cell of any command is lost."""

import inspect
import re
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import click
import pytest

from smarttext_pipelines.cli import printing
from smarttext_pipelines.cli.printing import print_rows, telling
from smarttext_pipelines_tests.cli.shown import leaves
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.told_commands import every_command

COMMANDS = Path(__file__).parents[2] / "docs" / "commands.md"
WIDTHS = (60, 80, 100, 200)
END = date(2026, 3, 16)
AT = datetime(2026, 3, 16, 14, 59, tzinfo=UTC)
ROWS = [
    {
        "incident": f"INC-{n}", "state": "critical firing", "rule": "sms_failure_rate_of_a_business",
        "whom": f"Hartley Plumbing & Sons of Dover Street {n}", "k of n": f"{n} of 1,204", "since": AT,
        "suppressed by": "an incident of the platform that inhibits it",
        "why": "no text of the business reached the caller within 24 hours " * 3,
    }
    for n in range(3)
]  # fmt: skip


def _bare(text: str) -> str:
    return re.sub(r"\s+", "", text)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Make the standard output a terminal of a width."""

    def of(width: int) -> None:
        made = printing.Console(highlight=False, markup=False, emoji=False, width=width)
        monkeypatch.setattr(printing, "table_console", lambda: made)

    return of


@pytest.mark.parametrize("width", WIDTHS)
def test_no_cell_of_a_wide_table_is_lost_and_no_line_is_wider_than_the_terminal(
    width: int, terminal: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    terminal(width)
    print_rows(ROWS)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= width
    words = {word for row in ROWS for value in row.values() if isinstance(value, str) for word in value.split()}
    for word in words:
        assert word in shown, word
    assert "…" not in shown
    assert shown.count("UTC") == 1


def test_the_version_completion_and_exit_codes_are_told(smarttext) -> None:
    assert smarttext("--version")[1].startswith("smarttext 0.")
    _, out, _ = smarttext("--help")
    assert "--install-completion" in out
    assert "Exit codes" in out


def _ends_with(command: click.Command) -> set[int]:
    """Return the exit codes besides 0 and 2 that the code of a command has."""
    callback = inspect.unwrap(command.callback or (lambda: None))
    source = inspect.getsource(callback)
    ones = {1} if "Exit(1" in source or "report.exit_code" in source else set()
    return ones | ({3} if "end_not_computed(" in source or "NOT_COMPUTED" in source else set())


def test_the_table_of_exit_codes_names_the_commands_that_end_so() -> None:
    table = dict(re.findall(r"^\| (\d) \| .* \| (.*) \|$", COMMANDS.read_text(), re.MULTILINE))
    assert (table["0"], table["2"]) == ("all", "all")
    for code in (1, 3):
        ends = {name for name, command in leaves() if code in _ends_with(command)}
        assert {*re.findall(r"`([^`]+)`", table[str(code)])} == ends
        assert all("xit code" in (command.help or "") for name, command in leaves() if name in ends)


def test_every_command_and_option_has_a_help() -> None:
    def walk(command: object, path: str) -> list[str]:
        nested = getattr(command, "commands", {})
        lacking = [f"{path} {p.name}" for p in command.params if not getattr(p, "help", True)]  # type: ignore[attr-defined]
        return lacking + [found for name, each in nested.items() for found in walk(each, f"{path} {name}")]

    mine = ("stats", "digest", "explain", "doctor", "rollup", "access", "budgets", "retention", "erase", "migrate")
    assert [name for name in walk(every_command(), "smarttext") if name.split()[1] in mine] == []


def test_a_long_command_says_that_it_goes_on_where_no_terminal_shows_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(printing, "TOLD_EVERY_SECONDS", 0.01)
    with telling("smarttext rollup"), telling("rolling up"):
        deadline = time.monotonic() + 5
        said = ""
        while "rolling up: " not in said and time.monotonic() < deadline:
            said += capsys.readouterr().err
    assert "rolling up: 0 s" in said


def test_a_line_of_doctor_stays_whole_in_a_pipe(database: Database) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "smarttext_pipelines.cli", "doctor", "--no-services"],
        capture_output=True, text=True, check=False,
        env={"SMARTTEXT_DATABASE_URL": database.url, "COLUMNS": "60", "PATH": "/usr/bin"},
    )  # fmt: skip
    states = ("ok", "unknown", "warn", "fail")
    for line in done.stdout.splitlines():
        assert line.lstrip().startswith((*states, "→")), line


def test_instants_are_shown_in_the_reporting_zone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(printing, "reporting_zone", lambda: ZoneInfo("America/New_York"))
    print_rows([{"at": AT}])
    assert "2026-03-16 10:59:00" in capsys.readouterr().out
