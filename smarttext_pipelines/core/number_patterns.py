"""Find a number in texts, in every spelling that is read as it.

PostgreSQL and DuckDB read the patterns alike; none has a quote.
"""

import re
from typing import Final

from smarttext_pipelines.core.customer_keys import NATIONAL
from smarttext_pipelines.core.statuses import SEPARATORS

NUMBER_COLUMNS: Final = ("from_number", "to_number", "customer_phone", "owner_phone")
"""Columns of events that hold one number each."""

_SEPARATORS: Final = "".join(sorted(SEPARATORS, key=lambda sign: sign == "-"))
"""The hyphen last, where a set of characters takes it as itself."""

_PREFIXES: Final = (r"\+", "00", "011")


def spelled_pattern(digits: str) -> str:
    r"""Return the pattern of a stretch of digits and separators that ``core.customer_keys.e164`` reads as a number.

    Args:
        digits: The number in E.164 without its plus.
    """
    prefix = "|".join(_spaced(each) for each in _PREFIXES)
    if digits[0] == "1" and re.match(NATIONAL, digits[1:]):
        number = f"(({prefix})?{_spaced('1')})?{_spaced(digits[1:])}"
    else:
        # Ten digits alone are of North America.
        number = f"({prefix}){'' if re.match(NATIONAL, digits) else '?'}{_spaced(digits)}"
    return f"(^|[^0-9+{_SEPARATORS}])[{_SEPARATORS}]*{number}([^0-9{_SEPARATORS}]|$)"


def mentioned_pattern(digits: str) -> str:
    """Return the pattern of a text that has a number in it: spelled, or its digits together among other words."""
    return f"((^|[^0-9]){digits}([^0-9]|$))|({spelled_pattern(digits)})"


def hinted_pattern(digits: str) -> str:
    """Return a pattern that is found wherever ``mentioned_pattern`` is, and is quickly missed in most texts."""
    return _spaced(digits[-7:])


def _spaced(signs: str) -> str:
    """Return a pattern with separators after each sign."""
    return "".join(f"{sign}[{_SEPARATORS}]*" for sign in re.findall(r"\\?.", signs))
