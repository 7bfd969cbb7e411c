"""What an error of PostgreSQL is about: the connection, the table, or the row. Only the first stops everything."""

from enum import Enum, auto

import psycopg

_CONNECTION = ("08", "57P", "28", "3D", "25", "26")
"""The session and the server; 25006 is a standby that is not promoted yet."""

_PASSING = ("57", "40", "53", "55P03", "55006")
"""Time limits, deadlocks, full disks and locks: never the fault of a row."""

_TABLE = ("42", "3F", "0A", "55", "58", "F0", "HV", "XX")
"""A missing relation, column or right; anything the server cannot do with this table."""


class About(Enum):
    """What an error is about."""

    connection = auto()
    """Nothing can be written now."""

    table = auto()
    """Nothing can be written into this table now."""

    some_row = auto()
    """One of the rows, or the table: it is the row if others are accepted."""

    row = auto()
    """One of the rows, for good."""


def about(error: psycopg.Error) -> About:
    """Return what an error of a statement is about."""
    state = error.sqlstate
    if state is None:
        # What the driver refuses before it asks.
        return About.row if isinstance(error, psycopg.DataError) else About.connection
    if state.startswith(_CONNECTION):
        return About.connection
    if state.startswith(_PASSING):
        return About.table
    if not state.startswith(_TABLE):
        return About.row
    # A trigger raises with any code that it likes; a policy refuses rows with the code of a missing right.
    is_inside = bool(error.diag.context) or error.diag.source_function == "ExecWithCheckOptions"
    return About.some_row if is_inside else About.table


def is_too_slow(error: psycopg.Error) -> bool:
    """Whether the statement was ended by its time limit: fewer rows may do."""
    return error.sqlstate == "57014"


def reason(error: psycopg.Error) -> str:
    """Return the error without quotes of the row: its DETAIL, and values within its message."""
    if error.diag.constraint_name and error.sqlstate == "23503":
        return "business_id names no business" if "business" in error.diag.constraint_name else "it refers to no row"
    named = error.diag.constraint_name or error.diag.column_name
    kind = type(error).__name__
    return f"{kind} ({error.sqlstate}{f', {named}' if named else ''})"
