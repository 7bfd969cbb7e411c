"""How a channel writes text that comes from data, a link, and a command: one ``Markup`` for each form. Pure.

A text that is escaped is read as text, whatever it says. Commands of ours, which are written in backticks, stay code.
"""

import html
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

_OUR_CODE = re.compile(r"(`smarttext [a-z][\w .:/=-]*`)")
_GSM_REPLACEMENTS = str.maketrans(
    {
        "•": "*",
        "–": "-",
        "—": "-",
        "·": "/",
        "×": "x",
        "≥": ">=",
        "…": "...",
        "“": '"',
        "”": '"',
        "\N{LEFT SINGLE QUOTATION MARK}": "'",
        "’": "'",
        # Not in the alphabet, or of double length.
        "`": "'",
        "[": "(",
        "]": ")",
        "{": "(",
        "}": ")",
        "\\": "/",
        "^": "'",
        "~": "-",
        "|": "/",
    }
)
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_LOOKALIKES = {
    "*": "\N{ASTERISK OPERATOR}",
    "_": "\N{MODIFIER LETTER LOW MACRON}",
    "~": "\N{TILDE OPERATOR}",
    ":": "\N{RATIO}",
}
# Slack knows no way to escape these. They mean something at the edge of a word, a colon before // or a sign's name.
_FORMATTING = re.compile(r"(?<![^\W_])[*_~]|[*_~](?![^\W_])|:(?=//|[\w+'-]+:)")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|<>~&:-])")


@dataclass(frozen=True)
class Markup:
    """A form of text.

    Attributes:
        escape: Text as this form shows it.
        link: An address and what it is called.
    """

    escape: Callable[[str], str]
    link: Callable[[str, str], str]


def _outside_our_code(escape: Callable[[str], str]) -> Callable[[str], str]:
    """Return an escape that leaves commands of ours alone."""

    def escaped(text: str) -> str:
        parts = _OUR_CODE.split(text)
        return "".join(part if place % 2 else escape(part) for place, part in enumerate(parts))

    return escaped


def _slack(text: str) -> str:
    text = _FORMATTING.sub(lambda found: _LOOKALIKES[found[0]], text.replace("`", "'"))
    return text.translate(_ENTITIES)


def _gsm(text: str) -> str:
    """Return a text in signs of the GSM alphabet that take one place each; one other would make three texts of this."""
    # A telephone makes a link of any address.
    text = text.replace("://", "[:]//")
    apart = unicodedata.normalize("NFKD", text.translate(_GSM_REPLACEMENTS))
    letters = "".join(sign for sign in apart if not unicodedata.combining(sign))
    return letters.encode("ascii", "replace").decode().translate(_GSM_REPLACEMENTS)


PLAIN = Markup(escape=str, link=lambda address, _name: address)
"""Log, terminal, mail, values of JSON: nothing has a meaning there, because control characters are cleaned before."""

SLACK = Markup(escape=_outside_our_code(_slack), link=lambda address, name: f"<{address.translate(_ENTITIES)}|{name}>")
SMS = Markup(escape=_gsm, link=lambda address, _name: address)
MARKDOWN = Markup(
    escape=_outside_our_code(lambda text: _MARKDOWN.sub(r"\\\1", text)),
    link=lambda address, name: f"[{name}]({address})",
)
"""Pages of the UI."""

HTML = Markup(
    escape=lambda text: html.escape(text),
    link=lambda address, name: f'<a href="{html.escape(address)}">{html.escape(name)}</a>',
)
"""Mail, beside plain text."""
