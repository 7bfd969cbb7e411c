"""Text from outside as one line that can be shown anywhere: no control characters, nothing invisible, no secret, short.

A customer chooses the name of a business, a provider the words of an error. They are cleaned here once, when they enter
a message, a table or a page. The result is plain text; ``alerting/notify/markup.py`` escapes it for Slack and Markdown.
"""

import re
import unicodedata

from smarttext_pipelines.core.redact import scrub

NAME_LENGTH = 60
"""Characters of a name that are shown at most."""

LINE_LENGTH = 500
"""Characters of any other text that are shown in one line at most."""

NO_NAME = "(no name)"

_SCRUBBED_LENGTH = 20
"""How many times the shown length is read: redacting shortens a text, and the rest of a megabyte is ignored."""

_MARKS_IN_A_ROW = 3
"""Accents on one letter; no script needs more, and a hundred of them cover the lines above."""

_REPLACED = frozenset({"Cc", "Cs", "Co"})
_BIDIRECTIONAL = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_BLANK = str.maketrans(dict.fromkeys("\u115f\u1160\u2800\u3164\uffa0\u034f\u17b4\u17b5", " "))
"""Invisible letters and marks, by class."""

_PLACEHOLDER = "\N{REPLACEMENT CHARACTER}"
_SPACES = re.compile(r"\s+")


def shown(text: str, longest: int = LINE_LENGTH) -> str:
    """Return a text as one line: cleaned, redacted, and cut with an ellipsis; a cleaned text stays as it is."""
    # Cleaned before it is redacted: an invisible sign inside would hide a number.
    line = scrub(visible(text[: longest * _SCRUBBED_LENGTH]))
    return cut(line + text[longest * _SCRUBBED_LENGTH :], longest)


def no_formula(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula: an apostrophe comes before one."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def cut(line: str, longest: int) -> str:
    """Return a line of at most that many characters, with an ellipsis where some are missing."""
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def shown_name(name: str | None) -> str:
    """Return a name that somebody outside has chosen; an address in it cannot be followed by a click or a tap."""
    # Redacted first: a URL that is none any more would keep its password.
    line = cut(shown(name or "").replace("://", "[:]//"), NAME_LENGTH)
    return line if line.strip(_PLACEHOLDER + " …") else NO_NAME


def visible(text: str) -> str:
    """Return a text of any length as one line in which every character is visible.

    White space becomes one space. Control characters and those that change the direction are replaced by ``�``; other
    invisible characters, such as joiners, are left out.
    """
    if text.isascii() and text.isprintable() and "  " not in text:
        return text.strip()
    cleaned, marks = [], 0
    for sign in _SPACES.sub(" ", text.translate(_BLANK)):
        kind = unicodedata.category(sign)
        if sign in _BIDIRECTIONAL or kind in _REPLACED:
            cleaned.append(_PLACEHOLDER)
        elif kind not in ("Cf", "Zl", "Zp"):
            marks = marks + 1 if kind in ("Mn", "Me") else 0
            cleaned.append(sign if marks <= _MARKS_IN_A_ROW else "")
    return _SPACES.sub(" ", "".join(cleaned)).strip()
