"""Functions in ``monitoring`` that find the rows of one answer by an index, with and without masked numbers."""

from importlib.resources import files

from smarttext_pipelines.core.statuses import (
    PLACEHOLDER_REQUESTS,
    PLACEHOLDER_SIDS,
    SEPARATORS,
    WHATSAPP_PREFIX,
    WITHHELD_CALLERS,
    WORDS_FOR_NONE,
)

ARGUMENTS = "text, uuid, text[], text[], timestamptz, timestamptz, timestamptz, timestamptz, boolean"
NUMBER_INDEXES = {"sms_events": "to_number", "call_events": "from_number"}
"""Table → the column whose numbers are searched, in any spelling."""


def compared(column: str) -> str:
    """Return the expression, also an index's, of a number without separators; ``whatsapp:`` stays in front."""
    return f"translate({column}, {_separators()}, '')"


def near_statements() -> list[str]:
    """Return the statements that create or replace the functions."""
    bare = f"CASE WHEN n LIKE '{WHATSAPP_PREFIX}%' THEN substr(n, {len(WHATSAPP_PREFIX) + 1}) ELSE n END"
    values = {
        "{nones}": _array(WORDS_FOR_NONE),
        "{placeholders}": _array(PLACEHOLDER_SIDS),
        "{withheld}": _array(WITHHELD_CALLERS),
        "{whatsapp}": WHATSAPP_PREFIX,
        "{compared_caller}": compared("e.from_number"),
        "{compared_recipient}": compared("e.to_number"),
        "{compared_any}": compared(bare),
        "{is_sid}": f"coalesce(e.message_sid <> '' AND e.message_sid <> ALL ({_array(PLACEHOLDER_SIDS)}), false)",
        "{is_request}": f"coalesce(e.request_id <> '' AND e.request_id <> ALL ({_array(PLACEHOLDER_REQUESTS)}), false)",
    }
    statement = (files(__package__) / "near_rows.sql").read_text()
    for name, value in values.items():
        statement = statement.replace(name, value)
    return [statement]


def _array(words: tuple[str, ...]) -> str:
    return "'{" + ",".join(f'"{word}"' for word in words) + "}'::text[]"


def _separators() -> str:
    """Return the separators as a literal in which every character is visible."""
    return "E'" + "".join(sign if sign in " -.()/" else f"\\u{ord(sign):04x}" for sign in SEPARATORS) + "'"
