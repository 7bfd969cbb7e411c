"""How numbers are compared where they are searched by an index, and what the functions of ``near_functions`` take."""

from smarttext_pipelines.core.customer_keys import separators_in_sql

ARGUMENTS = "text, uuid, text[], text[], timestamptz, timestamptz, timestamptz, timestamptz, boolean"
NUMBER_INDEXES = {"sms_events": "to_number", "call_events": "from_number"}
"""Table → the column whose numbers are searched, in any spelling."""


def compared(column: str) -> str:
    """Return the expression, also an index's, of a number without separators; ``whatsapp:`` stays in front."""
    return f"translate({column}, {separators_in_sql()}, '')"
