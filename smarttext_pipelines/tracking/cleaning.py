"""The fields of an event other than its key values: cleaned, cut or left out, and never a reason to reject it.

PostgreSQL stores no NUL and no half of a surrogate pair; JSON in it no NaN, and nothing that is nested without end.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from json import dumps
from typing import Any
from uuid import UUID

TEXT_LIMIT = 65_536
"""Characters of one text at most."""

WORD_LIMIT = 255
"""Characters of a status, a type, a code or a number at most: an index can hold them."""

KEY_BYTES = 2000
"""Bytes of a sid or request id at most, for the same reason."""

PAYLOAD_LIMIT = 262_144
"""Characters of a payload as JSON at most."""

DEEPEST = 100
"""Levels of a payload at most; PostgreSQL's own limit depends on its stack."""

_LARGEST_INT_BITS = 3000
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_SUSPECT = re.compile(r"\\u(?:0000|d[89a-f])")
_SPELLED = (int, float, Decimal, UUID, datetime, date, time, timedelta)


def clean(value: str) -> str:
    """Return a text that PostgreSQL can hold."""
    if value.isascii() and "\x00" not in value:
        return str.__str__(value)
    return _UNSTORABLE.sub("\ufffd", value)


def spell(value: object) -> str | None:
    """Return a value as text; None where it has no useful one."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value[:TEXT_LIMIT]).decode(errors="replace")
    if isinstance(value, _SPELLED) and not isinstance(value, bool):
        return str(value)
    return None


def cut_key(value: str) -> str:
    """Return a key that an index can hold: different keys stay different, and the meaningful end stays."""
    data = value.encode()
    if len(data) <= KEY_BYTES:
        return value
    return f"{value[:200]}~{hashlib.sha256(data).hexdigest()}~{value[-100:]}"


def tree(value: object) -> tuple[Any, bool]:
    """Return a value as JSON can hold it, and whether anything was changed."""
    if type(value) is dict and _is_plain(value):
        return value, False
    cleaner = _Cleaner()
    try:
        return cleaner.clean(value, ()), cleaner.is_changed
    except RecursionError:
        return None, True


def _is_plain(value: object) -> bool:
    """Whether a payload can be written as it is, which is nearly always so."""
    try:
        written = dumps(value, allow_nan=False)
    except Exception:  # noqa: BLE001 - an object may raise anything
        return False
    brackets = written.count("[") + written.count("{")
    return len(written) <= PAYLOAD_LIMIT and brackets < DEEPEST and not _SUSPECT.search(written)


class _Cleaner:
    """Copies a tree, with a budget of characters."""

    def __init__(self) -> None:
        self._left = PAYLOAD_LIMIT
        self.is_changed = False

    def clean(self, value: object, path: tuple[int, ...]) -> Any:
        self._left -= 2
        try:
            return self._clean(value, path)
        except RecursionError:
            raise
        except Exception:  # noqa: BLE001 - an object may raise anything
            return self._changed(None)

    def _clean(self, value: object, path: tuple[int, ...]) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int) and not isinstance(value, Enum):
            return int(value) if value.bit_length() <= _LARGEST_INT_BITS else self._changed(None)
        if isinstance(value, float):
            return float(value) if value - value == 0 else self._changed(None)
        if isinstance(value, Mapping | list | tuple | set | frozenset):
            if id(value) in path or len(path) == DEEPEST:
                return self._changed(None)
            self.is_changed |= isinstance(value, set | frozenset)
            inside = (*path, id(value))
            return self._mapping(value, inside) if isinstance(value, Mapping) else self._items(value, inside)
        return self._changed(None if (told := spell(value)) is None else self._text(told))

    def _mapping(self, value: Mapping[Any, Any], path: tuple[int, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, item in value.items():
            name = key if isinstance(key, str) else spell(key)
            if name is None or self._left <= 0:
                self.is_changed = True
                continue
            name = self._text(name)
            found[name] = self.clean(item, path)
        return found

    def _items(self, value: Iterable[Any], path: tuple[int, ...]) -> list[Any]:
        found = []
        for item in value:
            if self._left <= 0:
                self.is_changed = True
                break
            found.append(self.clean(item, path))
        return found

    def _text(self, value: str) -> str:
        found = clean(value[: max(self._left, 0)])
        self._left -= len(found) + 2
        self.is_changed |= found != value
        return found

    def _changed(self, value: Any) -> Any:
        self.is_changed = True
        return value
