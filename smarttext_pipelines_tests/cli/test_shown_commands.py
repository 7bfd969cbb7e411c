"""Every command that shows something: no cell is lost at any width, JSON for programs, and who may ask."""

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from smarttext_pipelines.cli import printing
from smarttext_pipelines.cli.main import run
from smarttext_pipelines.schema.migrate import make_roles, migrate
from smarttext_pipelines_tests.cli.shown import CALLER, DOES, SAID, SHOWS, examples, fill, leaves
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database
from smarttext_pipelines_tests.schema.test_roles import logged_in

WIDTHS = (60, 80, 100, 200)
FITS = 36
"""Characters of a word that have room in a line of a block at any of them; a longer one may go on in the next."""
Asked = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def filled(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, Path]]:
    folder = tmp_path_factory.mktemp("shown")
    with fresh_database(server, template) as database:
        fill(database, folder)
        yield database, folder


@pytest.fixture
def ask(filled: tuple[Database, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Asked:
    """Run a command in a terminal of a width, or into a pipe; give its exit code, output and errors."""
    database, folder = filled
    monkeypatch.chdir(folder)
    told = {"SMARTTEXT_DATABASE_URL": database.url, "SMARTTEXT_ARCHIVE_URL": str(folder / "archive"),
            "SMARTTEXT_LAKE_URL": str(folder / "lake"),
            "SMARTTEXT_DATA_DIR": str(folder / "data"), "NO_COLOR": "1", "TERM": "xterm", "LINES": "40"}  # fmt: skip
    for name, value in told.items():
        monkeypatch.setenv(name, value)

    def call(*words: str, width: int | None = None) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["smarttext", *words])
        monkeypatch.setattr(sys.stdout, "isatty", lambda: width is not None)
        monkeypatch.setenv("COLUMNS", str(width or 80))
        try:
            code = run()
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = capsys.readouterr()
        return code, re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", said.out), said.err

    return call


def test_every_command_shows_or_does_something() -> None:
    assert {name for name, _ in leaves()} == {*SHOWS, *DOES}
    assert not {*SHOWS} & DOES


def _ends(words: tuple[str, ...]) -> tuple[int, ...]:
    """Return the exit codes of a command that works; no daemon runs here, which the doctor finds."""
    return (0, 1, 2, 3) if words[0] == "doctor" else (0, 1, 3)


def _words(shown: str) -> Counter[str]:
    return Counter(word for word in shown.split() if not set(word) <= set("─━│"))


@pytest.fixture(scope="module")
def people(filled: tuple[Database, Path]) -> frozenset[str]:
    """Return the last ten digits of every number of a customer or an owner that an event holds."""
    found = filled[0].rows(
        "SELECT to_number AS number FROM public.sms_events UNION SELECT from_number FROM public.call_events"
        " UNION SELECT owner_phone FROM public.owner_alerts UNION SELECT customer_phone FROM public.owner_alerts"
        " EXCEPT SELECT twilio_phone FROM public.businesses EXCEPT SELECT public_phone FROM public.businesses"
    )
    numbers = frozenset(_digits(row["number"])[-10:] for row in found if row["number"])
    assert _digits(CALLER)[-10:] in numbers
    return frozenset(number for number in numbers if len(number) == 10)


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def _require_private(shown: str, words: tuple[str, ...], people: frozenset[str]) -> None:
    """Require that no number of a person but one that was typed, and no text of a message, is shown."""
    typed = {_digits(word)[-10:] for word in words}
    seen = {_digits(found)[-10:] for found in re.findall(r"\+?\d(?:[ ().-]?\d){9,14}", shown)}
    assert not (seen & people) - typed
    assert SAID not in shown


@pytest.mark.parametrize("words", examples(), ids=" ".join)
def test_no_cell_is_lost_at_any_width_no_number_leaks_and_a_pipe_is_told_that_it_goes_on(
    words: tuple[str, ...], ask: Asked, people: frozenset[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as often:
        often.setattr(printing, "TOLD_EVERY_SECONDS", 0.001)
        code, wide, errors = ask(*words)
    assert code in _ends(words), errors
    assert "validate" in words or re.search(r": \d+ s$", errors, re.MULTILINE)
    assert wide.strip(), "the example shows nothing"
    _require_private(wide + errors, words, people)
    for width in WIDTHS:
        _, shown, _ = ask(*words, width=width)
        bare = re.sub(r"\s+", "", shown)
        lost = {word for word in _words(wide) - _words(shown) if len(word) <= FITS or word not in bare}
        if words[0] == "doctor":
            # It looks anew each time: connections and seconds are others.
            lost = {word for word in lost if not word.isdecimal()}
        assert not lost, (width, shown)
        assert shown.count("…") >= wide.count("…")
        assert not [line for line in shown.splitlines() if set(line.strip()) == {"─"} and len(line) > width]


def _rounded(found: Any, name: str = "") -> Iterator[str]:
    """Return the names of numbers that are no whole ones."""
    if isinstance(found, float):
        yield name
    for key, value in found.items() if isinstance(found, dict) else ():
        yield from _rounded(value, key)
    for value in found if isinstance(found, list) else ():
        yield from _rounded(value, name)


@pytest.mark.parametrize("words", examples(), ids=" ".join)
def test_what_is_shown_is_also_said_as_json_with_exact_amounts_and_no_number(
    words: tuple[str, ...], ask: Asked, people: frozenset[str]
) -> None:
    code, out, errors = ask(*words, "--json")
    assert code in _ends(words), errors
    _require_private(out + errors, words, people)
    found = json.loads(out)
    assert found or words == ("access",), "the example shows nothing"
    assert {*_rounded(found)} <= {"nats"}, "a number that programs round, and no score"


REFUSED = {
    "access": "the owner", "budgets replay": "smarttext_pipeline", "budgets propose": "smarttext_pipeline",
    "budgets tokens": "smarttext_pipeline",
    "alerts backtest": "smarttext_pipeline", "retention status": "smarttext_retention",
    "retention verify": "smarttext_retention", "lake status": "", "lake verify": "",
}  # fmt: skip
OF_NO_ROLE = ("doctor", "alerts metrics", "alerts validate", "anomalies backtest")
"""What says something of the connection itself, or reads no database; the last takes long, and reads daily numbers."""


@pytest.fixture(scope="module")
def reader(filled: tuple[Database, Path]) -> Iterator[str]:
    database, _ = filled
    make_roles(database.engine)
    migrate(database.engine, ZoneInfo("UTC"))
    with logged_in(database, "smarttext_reader") as engine:
        yield engine.url.render_as_string(hide_password=False)


@pytest.mark.parametrize(
    "words", [w for w in examples() if not " ".join(w).startswith((*OF_NO_ROLE, *REFUSED))], ids=" ".join
)
def test_the_reader_is_shown_the_same_rows_as_the_owner(
    words: tuple[str, ...], ask: Asked, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = json.loads(ask(*words, "--json")[1])
    monkeypatch.setenv("SMARTTEXT_DATABASE_URL", reader)
    code, out, errors = ask(*words, "--json")
    assert code in _ends(words), errors
    found = json.loads(out)
    if words[:2] in (("customers", "list"), ("customers", "show"), ("explain", "customer")):
        found, whole = _without_events(found), _without_events(whole)
    assert _lasting(found) == _lasting(whole)


def _without_events(found: Any) -> Any:
    """Return what is known of customers without a right to read events."""
    if isinstance(found, list):
        return [_without_events(each) for each in found]
    of_events = {"number", "suppressed", "verdict", "since", "sent_in_spite", "next_step"}
    return {n: _without_events(v) for n, v in found.items() if n not in of_events} if isinstance(found, dict) else found


def _lasting(found: Any) -> Any:
    """Return what was shown without the forecast of a budget's end, which moves with the time."""
    rows = found if isinstance(found, list) else []
    return [{n: v for n, v in row.items() if n != "reached_at"} for row in rows] if rows else found


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_reader_is_refused_names_the_role_to_use(
    name: str, ask: Asked, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMARTTEXT_DATABASE_URL", reader)
    code, out, errors = ask(*name.split(), *SHOWS[name][0])
    assert (code, out) == (2, "")
    assert len(errors.splitlines()) == 1
    assert "smarttext_reader may not" in errors
    assert REFUSED[name] in errors


def test_every_command_that_shows_something_has_the_option_json() -> None:
    lacking = {name for name, each in leaves() if "--json" not in {o for p in each.params for o in p.opts}}
    assert lacking == DOES
