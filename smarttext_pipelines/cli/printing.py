"""Text and tables on the terminal, in a file or a pipe: what is printed is text, no markup, no control character.

A table that is wider than the terminal becomes blocks, one for each row: no cell is ever cut. Times are those of the
reporting zone, which is named once below them.
"""

import json
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from threading import Event, Thread
from time import monotonic
from typing import Any
from zoneinfo import ZoneInfo

import typer
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from smarttext_pipelines.core.display import cut, visible
from smarttext_pipelines.core.errors import SettingsError
from smarttext_pipelines.settings import load_settings

LONGEST_WORD = 200
"""Characters of a word that no table breaks: the scope of a business, the URL of a file; blocks do where they must."""

WIDTH_OF_A_FILE = 1000


CELL_LENGTH = 1000
"""Characters of a cell that are shown."""

TOLD_EVERY_SECONDS = 10.0

_going_on: list[str] = []
_GAP = 1
_LINES_OF_A_CELL = 4
"""More lines than that in a cell read worse than a block."""


def table_console() -> Console:
    """Return the console that prints tables: as wide as the terminal; a file or a pipe has no width."""
    return Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE)


def say(text: str, *, stderr: bool = False) -> None:
    """Print lines as they are, except for characters that would control the terminal."""
    lines = "\n".join(visible(line) for line in text.split("\n"))
    Console(stderr=stderr, highlight=False, soft_wrap=True, markup=False, emoji=False).print(lines)


def print_json(found: object) -> None:
    """Print a value as JSON: times with their offset from UTC, amounts as text, so that no digit is lost."""
    typer.echo(json.dumps(found, default=_for_machines, indent=2, ensure_ascii=False))


def _for_machines(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def reporting_zone() -> ZoneInfo:
    """Return the zone in which times are shown."""
    with suppress(SettingsError):
        return load_settings().zone
    return ZoneInfo("UTC")


def local_time(at: datetime, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Return an instant as people read it, in the reporting zone."""
    return f"{(at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(reporting_zone()):{form}}"


def print_rows(
    rows: Sequence[Mapping[str, Any]], *, title: str = "", right: Collection[str] = (), keeps_empty: bool = False
) -> None:
    """Print rows as a table, or as blocks where the terminal is too narrow for one.

    Args:
        rows: Rows with the same names; an empty column is left out.
        title: The heading.
        right: Columns of numbers.
        keeps_empty: Whether empty columns are shown, too.
    """
    zone = reporting_zone()
    has_times = any(isinstance(value, datetime) for row in rows for value in row.values())
    cells = [{name: _cell(value, zone) for name, value in row.items()} for row in rows]
    names = [name for name in (cells[0] if cells else ()) if keeps_empty or any(row[name] for row in cells)]
    if not names:
        return
    console = table_console()
    if title:
        console.print(title, soft_wrap=True)
    widths = _widths(cells, names, console.width)
    if widths:
        console.print(_table(cells, names, right, widths))
    else:
        _print_blocks(cells, names, console)
    if has_times:
        console.print(f"times: {zone.key}", soft_wrap=True)


def print_cells(names: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "") -> None:
    """Print rows of cells under names; whole numbers get their separators, and columns of them are right-aligned."""
    shown = [[f"{cell:,}" if isinstance(cell, int) else cell for cell in row] for row in rows]
    right = [name for place, name in enumerate(names) if all(isinstance(row[place], int) for row in rows)]
    print_rows([dict(zip(names, row, strict=True)) for row in shown], title=title, right=right)


@contextmanager
def telling(what: str) -> Iterator[None]:
    """Print a progress line every ten seconds to standard error, where no terminal shows progress.

    One within another only says more exactly what goes on.
    """
    _going_on.append(what)
    done = Event()

    def tell() -> None:
        begun = monotonic()
        while not done.wait(TOLD_EVERY_SECONDS):
            say(f"{_going_on[-1]}: {monotonic() - begun:.0f} s", stderr=True)

    teller = Thread(target=tell, daemon=True)
    if len(_going_on) == 1 and not sys.stderr.isatty():
        teller.start()
    try:
        yield
    finally:
        done.set()
        if teller.is_alive():
            teller.join()
        _going_on.pop()


def _table(
    cells: Sequence[Mapping[str, str]], names: Sequence[str], right: Collection[str], widths: Mapping[str, int]
) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, _GAP, 0, 0))
    for name in names:
        # Each column gets its width: by default, a full table would break words.
        table.add_column(name, width=widths[name], overflow="fold", justify="right" if name in right else "left")
    for row in cells:
        table.add_row(*(row[name] for name in names))
    return table


def _min_width(cells: Sequence[Mapping[str, str]], name: str) -> int:
    words = (word for row in cells for word in (*row[name].split(), *name.split()))
    return min(max(map(cell_len, words), default=1), LONGEST_WORD)


def _widths(cells: Sequence[Mapping[str, str]], names: Sequence[str], width: int) -> dict[str, int] | None:
    """Return how wide each column is; None where a word would break, or a cell take too many lines."""
    min_widths = {name: _min_width(cells, name) for name in names}
    room = width - sum(min_widths.values()) - (_GAP + 1) * len(names)
    if room < 0:
        return None
    longest = {name: max(cell_len(name), *(cell_len(row[name]) for row in cells)) for name in names}
    lacking = {name: max(0, longest[name] - min_widths[name]) for name in names}
    # What is left is shared by the long cells.
    shares = {name: min(lacking[name], room * lacking[name] // max(sum(lacking.values()), 1)) for name in names}
    widths = {name: min_widths[name] + shares[name] for name in names}
    return widths if all(longest[name] <= _LINES_OF_A_CELL * widths[name] for name in names) else None


def _print_blocks(cells: Sequence[Mapping[str, str]], names: Sequence[str], console: Console) -> None:
    edge = min(max(map(cell_len, names)), max(8, console.width // 3))
    for place, row in enumerate(cells):
        if place:
            console.print()
        for name in names:
            if row[name]:
                console.print(_block_line(name, row[name], edge))


def _block_line(name: str, text: str, edge: int) -> Table:
    line = Table.grid(padding=(0, 2, 0, 0))
    line.add_column(width=edge, overflow="fold")
    line.add_column(overflow="fold")
    line.add_row(name, text)
    return line


def _cell(value: object, zone: ZoneInfo) -> str:
    if isinstance(value, datetime):
        at = value if value.tzinfo else value.replace(tzinfo=UTC)
        return f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S}"
    return "" if value is None else cut(visible(str(value)), CELL_LENGTH)
