"""SQL of the answer to "may this number be texted?": the function that applications call, and what keeps its marks."""

from importlib.resources import files

from smarttext_pipelines.core.customer_key import CHANNEL_PREFIX
from smarttext_pipelines.core.failure_classes import failure_classes
from smarttext_pipelines.core.statuses import CODE_PATTERN, SEPARATORS, WHATSAPP_PREFIX, WITHHELD_CALLERS

_KINDS = {"opted_out": "opt_out", "invalid_number": "invalid", "unreachable": "unreachable"}
"""Classes of failures that say something of a number, and the mark that each leaves."""


def recipient_statements() -> list[str]:
    """Return the statements that replace the functions."""
    codes = ", ".join(
        f"('{code}', '{kind}')" for name, kind in _KINDS.items() for code in failure_classes()[name].codes
    )
    values = {
        "separators": "U&'" + "".join(f"\\{ord(letter):04X}" for letter in SEPARATORS) + "'",
        "whatsapp": WHATSAPP_PREFIX,
        "prefix": CHANNEL_PREFIX,
        "withheld": ", ".join(f"'{word}'" for word in WITHHELD_CALLERS),
        "codes": codes,
        "code": CODE_PATTERN,
    }
    statement = (files(__package__) / "recipients.sql").read_text()
    for name, value in values.items():
        statement = statement.replace("{" + name + "}", value)
    return [statement]
