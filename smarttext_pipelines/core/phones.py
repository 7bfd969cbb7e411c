"""Finds telephone numbers in any text by how people and programs write them, in the digits of any script.

The search runs over a plain ASCII copy of the text, which covers the escapes of JSON, of ``repr`` and of URLs;
matches are replaced in the text itself. Every pattern is bounded, so time is linear. When in doubt a
number is replaced: any bare number of ten digits counts as a telephone number.
"""

import re
import sys
import unicodedata
from bisect import bisect_right
from itertools import accumulate

REPLACEMENT = "[phone]"

_GAP = r"[ ()./-]{0,3}"
_CUT = r"[ ./-]{1,3}"
_STARTS = r"(?:(?<![\w.+-])|(?<=\\[nrt]))(?<!\d:)"
_EXTENSION = r"(?: ?(?:[xX#]|[eE][xX][tT](?:\.|ension)?) ?\d{1,7})?"
_ENDS = r"(?!\d|[.-]\d)"
_AREA = r"[2-9]\d\d"
_EXCHANGE = rf"(?:\d{{3}}{_CUT}|[2-9]\d\d)"

_FORMS = (
    # The United States and Canada; a number with one point, such as 415.5552671, is rather a fraction.
    rf"(?:1{_CUT})?\( ?{_AREA} ?\){_GAP}{_EXCHANGE}\d{{4}}{_EXTENSION}{_ENDS}",
    rf"(?:1{_CUT})?{_AREA}{_CUT}\d{{3}}{_CUT}\d{{4}}{_EXTENSION}{_ENDS}",
    rf"1{_CUT}{_AREA}{_GAP}{_EXCHANGE}\d{{4}}{_EXTENSION}{_ENDS}",
    rf"{_AREA}[ -][2-9]\d{{6}}{_EXTENSION}{_ENDS}",
    # The international dialling prefix.
    rf"(?:00|011[ -]?)[1-9](?:{_GAP}\d){{7,13}}{_EXTENSION}(?![\w-])",
    # A 0 before the area code.
    rf"\(0\d{{1,4}}\){_GAP}\d{{3,4}}[ -]?\d{{3,4}}{_EXTENSION}{_ENDS}",
    rf"0\d{{2,4}}[ /-]{{1,2}}\d{{3,4}}[ -]?\d{{3,4}}{_EXTENSION}(?![\w-])",
    rf"0\d{{2,4}}[ /-]{{1,2}}\d{{6,8}}{_EXTENSION}(?![\w-])",
    rf"0[1-9]([ -])\d{{4}}\1\d{{4}}{_EXTENSION}(?![\w-])",
    rf"0[1-9]([ .-])\d\d(?:\2\d\d){{3}}{_EXTENSION}(?![\w-]|\.\d)",
    # Not 1 and nine digits: those are the seconds of an instant.
    rf"(?:1?[2-9]\d{{9}}|0\d{{9,10}}){_EXTENSION}(?![\w-]|[.:]\d)",
)
_NUMBER = re.compile(
    # No country's code begins with 0; so an instant's offset is none.
    rf"(?=[+(\d])(?:\+[ (]{{0,2}}[1-9](?:{_GAP}\d){{6,14}}{_EXTENSION}|{_STARTS}(?:{'|'.join(_FORMS)}))",
    re.ASCII,
)
_HEX = "[0-9a-fA-F]"
_ESCAPE = re.compile(
    rf"\\{{1,4}}u([dD][89abAB]{_HEX}{{2}})\\{{1,4}}u([dD][c-fC-F]{_HEX}{{2}})"
    rf"|\\{{1,4}}u({_HEX}{{4}})|\\{{1,4}}U({_HEX}{{8}})|\\{{1,4}}x({_HEX}{{2}})|%(2{_HEX})|&#x0?(2[bB]);|&#(43);"
)
_DIGIT = re.compile(r"[0-9]|[^\x00-\x7f]")
_SEPARATORS = frozenset("+()./- #")
_KINDS = {"Zs": " ", "Cf": " ", "Pd": "-"}


class _Plain(dict[int, str]):
    """Maps each character to its plain form of the same length; filled in as characters are seen."""

    def __missing__(self, code: int) -> str:
        self[code] = found = _plain(chr(code))
        return found


def _plain(character: str) -> str:
    digit = unicodedata.digit(character, None)
    if digit is not None:
        return str(digit)
    same = unicodedata.normalize("NFKC", character)
    if same in _SEPARATORS:
        return same
    if character in "\u2212\u00b7\u30fb":
        return "-" if character == "\u2212" else "."
    return _KINDS.get(unicodedata.category(character), character)


_PLAIN = _Plain()
_LAST_TWO = "substring(regexp_replace({}, '[^0-9]', '', 'g') FROM '[0-9]{{2}}([0-9]{{2}})$')"


def without_numbers(text: str) -> str:
    """Return the text with every telephone number, and the extension behind it, replaced."""
    # An escape of a digit, whatever the script, has an ASCII digit itself.
    if not _DIGIT.search(text):
        return text
    plain, places = _copy(text)
    parts, end = [], 0
    for found in _NUMBER.finditer(plain):
        start, after = (_place(at, places) for at in found.span())
        parts += [text[end:start], REPLACEMENT]
        end = after
    return "".join([*parts, text[end:]]) if parts else text


def mask_phone(number: str | None) -> str:
    """Return a telephone number masked up to its last two digits; a short one is masked entirely."""
    digits = re.sub(r"[^0-9]", "", (number or "").translate(_PLAIN))
    return f"•••{digits[-2:]}" if len(digits) >= 4 else "•••"


def masked_in_sql(column: str) -> str:
    """Return the expression by which PostgreSQL masks a column; NULL stays NULL."""
    return f"CASE WHEN {column} IS NOT NULL THEN '•••' || coalesce({_LAST_TWO.format(column)}, '') END"


def _copy(text: str) -> tuple[str, list[tuple[int, int]]]:
    """Return the plain copy, and at which offsets the text becomes longer than the copy, and by how much."""
    plain = text if text.isascii() else text.translate(_PLAIN)
    if not any(sign in plain for sign in ("\\u", "\\U", "\\x", "%2", "&#")):
        return plain, []
    parts: list[str] = []
    ends: list[int] = []
    end = 0
    for found in _ESCAPE.finditer(plain):
        character = _plain(chr(_code(found)))
        if character.isdigit() or character in _SEPARATORS:
            parts += [plain[end : found.start()], character]
            end = found.end()
            ends.append(len(found[0]) - 1)
    parts.append(plain[end:])
    longer = accumulate(ends)
    starts = accumulate(len(a) + len(b) for a, b in zip(parts[:-1:2], parts[1::2], strict=True))
    return "".join(parts), list(zip(starts, longer, strict=True))


def _code(found: re.Match[str]) -> int:
    high, low, *others, decimal = found.groups()
    if high:
        return 0x10000 + (int(high, 16) - 0xD800) * 0x400 + int(low, 16) - 0xDC00
    code = int(decimal or "0") or int(next(code for code in others if code), 16)
    return min(code, sys.maxunicode)


def _place(at: int, places: list[tuple[int, int]]) -> int:
    """Return the offset in the text of an offset in the copy."""
    before = bisect_right(places, at, key=lambda place: place[0])
    return at + (places[before - 1][1] if before else 0)
