"""The values of one event as they are written, and what had to be done to them.

A key value raises ValueError when it cannot be kept; any other is cleaned, cut or left out, and noted.
"""

import re
from enum import Enum
from typing import Any, TypeVar
from uuid import UUID

from smarttext_pipelines.tracking import cleaning, values

# A number, a short code, a name of a sender, or an address of a channel such as whatsapp:+15550100 or sip:user@host.
_ADDRESS = re.compile(
    r"(?:[a-z]{2,12}:)?(?:\+?[0-9(][0-9 ().-]{2,20}|[A-Za-z][A-Za-z0-9 &_-]{0,10})|[a-z]{2,12}:\S{1,200}"
)
# What Twilio and carriers put in place of a number; they would pass as the name of a sender.
_NO_NUMBER = frozenset({"anonymous", "restricted", "unavailable", "unknown", "private", "blocked", "withheld"})


_Text = TypeVar("_Text", str, str | None)


class Fields:
    """Takes the values of one event.

    Attributes:
        trimmed: Names of fields that are not written as they were passed.
        odd: Names of fields that should be telephone numbers and are not.
    """

    def __init__(self) -> None:
        self.trimmed: list[str] = []
        self.odd: list[str] = []

    def word(self, name: str, value: object) -> str:
        """Return a status or type, without which an event says nothing."""
        told = value.value if isinstance(value, Enum) else value
        if not isinstance(told, str):
            msg = f"{name} must be a text, not {type(told).__name__}"
            raise ValueError(msg)
        return self._noted(name, told, cleaning.clean(told[: cleaning.WORD_LIMIT]))

    def key(self, name: str, value: object) -> str | None:
        """Return a key that joins rows: equal values give equal keys, and different ones differ."""
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, str | int | UUID):
            msg = f"{name} must be a text, not {type(value).__name__}"
            raise ValueError(msg)
        told = str(cleaning.spell(value))
        return self._noted(name, told, cleaning.cut_key(cleaning.clean(told)))

    def phone(self, name: str, value: object, *, required: bool = False) -> str | None:
        """Return where a text or call comes from or goes to, as it was passed."""
        if value is None:
            if required:
                msg = f"{name} is required"
                raise ValueError(msg)
            return None
        found = self.side(name, value, size=cleaning.WORD_LIMIT) or ""
        is_number = _ADDRESS.fullmatch(found) and found.lower() not in _NO_NUMBER
        if not is_number and (found or required):
            self.odd.append(name)
        return found

    def side(self, name: str, value: object, *, size: int = cleaning.TEXT_LIMIT) -> str | None:
        """Return a text that is not a key value."""
        if value is None:
            return None
        try:
            told = cleaning.spell(value)
            found = None if told is None else cleaning.clean(told[:size])
        except Exception:  # noqa: BLE001 - an object may raise anything
            found = None
        return self._noted(name, value if isinstance(value, str) else found, found)

    def content(self, name: str, value: object) -> str:
        """Return a text that is not a key value, and that a row must have."""
        found = self.side(name, value)
        if found is None:
            self.trimmed.append(name)
        return found or ""

    def code(self, name: str, value: object) -> str | None:
        """Return an error code; a number becomes its digits."""
        is_whole = isinstance(value, float) and value.is_integer()
        return self.side(name, int(value) if is_whole else value, size=cleaning.WORD_LIMIT)  # type: ignore[call-overload]

    def number(self, name: str, value: object) -> int | None:
        """Return a count that is not a key value."""
        try:
            return values.count(name, value)
        except Exception:  # noqa: BLE001 - an object may raise anything
            self.trimmed.append(name)
            return None

    def payload(self, name: str, value: object) -> dict[str, Any]:
        """Return a mapping as JSON holds it; any other value is stored under the key ``value``."""
        if value is None:
            return {}
        found, is_changed = cleaning.tree(value)
        if is_changed:
            self.trimmed.append(name)
        if isinstance(found, dict):
            return found
        self.trimmed.append(name)
        return {"value": found}

    def _noted(self, name: str, told: object, found: _Text) -> _Text:
        if found != told or found is None:
            self.trimmed.append(name)
        return found
