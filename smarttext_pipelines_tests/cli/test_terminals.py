"""Terminals of any width: a table that does not fit becomes blocks, and no cell of any command is lost."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from typer.main import get_command

from smarttext_pipelines.cli import printing
from smarttext_pipelines.cli.main import app
from smarttext_pipelines.cli.printing import print_rows, telling
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.sample import SampleSpec, load_sample
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import roll_up_all

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


@pytest.fixture(scope="module")
def commands() -> list[tuple[str, ...]]:
    day = ("--date", str(END))
    return [
        ("stats", *day),
        ("stats", "--from", "2026-03-14", "--to", str(END)),
        ("explain", "calls_missed", "--all", *day),
        ("explain", "sms_failure_count", "--all", *day),
        ("explain", "openai_cost_estimate", "--all", *day),
        ("explain", "owner_alerts_sent", "--all", *day),
        ("explain", "is_final", "--all", *day),
        ("budgets", "show"),
    ]


@pytest.fixture
def sampled(database: Database) -> Database:
    spec = SampleSpec(3, 6, 60, 7, END, datetime(2026, 3, 17, tzinfo=UTC))
    load_sample(database.url, spec, lambda _day, _rows: None)
    roll_up_all(database.engine, DayRange(date(2026, 3, 14), END))
    return database


def test_no_cell_of_any_command_is_lost_at_any_width(
    smarttext, sampled: Database, commands: list[tuple[str, ...]], terminal: Callable[[int], None]
) -> None:
    for command in commands:
        terminal(1000)
        code, wide, errors = smarttext(*command)
        assert (code, errors) == (0, ""), command
        words = {word for word in wide.split() if len(word) > 1 and not set(word) <= set("─━")}
        for width in WIDTHS:
            terminal(width)
            _, shown, _ = smarttext(*command)
            missing = [word for word in words if _bare(word) not in _bare(shown)]
            assert not missing, (command, width, missing)


def test_every_command_that_shows_something_has_json(smarttext, sampled: Database) -> None:
    day = ("--date", str(END))
    for command in (
        ("stats", *day), ("digest", *day), ("explain", "calls_missed", "--all", *day), ("budgets", "show"),
        ("retention", "status"), ("access",),
    ):  # fmt: skip
        code, out, errors = smarttext(*command, "--json")
        assert (code, errors) == (0, ""), command
        json.loads(out)


def test_the_version_completion_and_exit_codes_are_told(smarttext) -> None:
    assert smarttext("--version")[1].startswith("smarttext 0.")
    _, out, _ = smarttext("--help")
    assert "--install-completion" in out
    assert "Exit codes" in out


def test_every_command_and_option_has_a_help() -> None:
    def walk(command: object, path: str) -> list[str]:
        nested = getattr(command, "commands", {})
        lacking = [f"{path} {p.name}" for p in command.params if not getattr(p, "help", True)]  # type: ignore[attr-defined]
        return lacking + [found for name, each in nested.items() for found in walk(each, f"{path} {name}")]

    mine = ("stats", "digest", "explain", "doctor", "rollup", "access", "budgets", "retention", "erase", "migrate")
    assert [name for name in walk(get_command(app), "smarttext") if name.split()[1] in mine] == []


def test_a_long_command_says_that_it_goes_on_where_no_terminal_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    with telling("rolling up", seconds=0.01):
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
