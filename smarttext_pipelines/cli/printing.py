"""Text and tables on the terminal, in a file or a pipe: what is printed is text, no markup, no control character."""

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from smarttext_pipelines.core.display import cut, visible

LONGEST_WORD = 36
"""Characters of a word that are never broken: a name of a rule, the id of a business."""

WIDTH_OF_A_FILE = 1000


CELL_LENGTH = 1000
"""Characters of a cell that are shown."""


def table_console() -> Console:
    """Return where tables are printed: as wide as the terminal; a file or a pipe has no width to keep to."""
    return Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE)


def say(text: str, *, stderr: bool = False) -> None:
    """Print lines as they are, but for characters that would act on the terminal."""
    lines = "\n".join(visible(line) for line in text.split("\n"))
    Console(stderr=stderr, highlight=False, soft_wrap=True, markup=False, emoji=False).print(lines)


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows as a table; a column in which nothing stands is left out, and no word of a cell is broken."""
    cells = [{name: _cell(value) for name, value in row.items()} for row in rows]
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    names = [name for name in (cells[0] if cells else ()) if any(row[name] for row in cells)]
    for name in names:
        words = (len(word) for row in cells for word in row[name].split())
        table.add_column(name, min_width=min(max(words), LONGEST_WORD), overflow="fold")
    for row in cells:
        table.add_row(*(row[name] for name in names))
    if names:
        table_console().print(table)


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return "" if value is None else cut(visible(str(value)), CELL_LENGTH)
