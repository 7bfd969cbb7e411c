"""How numbers are compared where they are searched by an index, and what the functions of ``near_functions`` take."""

from smarttext_pipelines.core.statuses import SEPARATORS

ARGUMENTS = "text, uuid, text[], text[], timestamptz, timestamptz, timestamptz, timestamptz, boolean"
NUMBER_INDEXES = {"sms_events": "to_number", "call_events": "from_number"}
"""Table → the column whose numbers are searched, in any spelling."""


def compared(column: str) -> str:
    """Return the expression, also an index's, of a number without separators; ``whatsapp:`` stays in front."""
    return f"translate({column}, {_separators()}, '')"


def _separators() -> str:
    """Return the separators as a literal in which every character is visible."""
    return "E'" + "".join(sign if sign in " -.()/" else f"\\u{ord(sign):04x}" for sign in SEPARATORS) + "'"
