"""The sort order of an existing view, in names of its own columns, so that ours can keep it."""

import re
from collections.abc import Iterator

_DIRECTION = re.compile(r"((?:\s+(?:ASC|DESC))?(?:\s+NULLS\s+(?:FIRST|LAST))?)$")
_NAME = re.compile(r'[a-z_][a-z0-9_$]*|"(?:[^"]|"")+"')


def order_of(definition: str | None) -> str:
    """Return the ORDER BY list of a definition as ``pg_get_viewdef`` prints it; empty where there is none we can keep.

    PostgreSQL prints what is sorted by as an expression, with its own parentheses. It is a column of the view whose
    expression is the same; from the first one on that is none, the rest is left out.
    """
    words = " ".join((definition or "").rstrip("; \n").split())
    body, _, order = _rsplit(words, " ORDER BY ")
    names: dict[str, str] = {}
    for expression, column in _columns(body):
        names.setdefault(expression, column)
    kept: list[str] = []
    for item in _split(_split(order, " LIMIT ")[0], ", ") if order else []:
        direction = _DIRECTION.search(item)
        ending = direction.group(1) if direction else ""
        name = names.get(_bare(item[: len(item) - len(ending)]))
        if name is None:
            break
        kept.append(f"{name}{ending}")
    return ", ".join(kept)


def _columns(body: str) -> Iterator[tuple[str, str]]:
    """Yield what may be sorted by: each column's expression and its name, with the name."""
    select = _split(body, " FROM ")[0].removeprefix("SELECT ").removeprefix("DISTINCT ")
    for item in _split(select, ", "):
        expression, _, name = _rsplit(item, " AS ")
        name = name or expression.rsplit(".", 1)[-1]
        if _NAME.fullmatch(name):
            yield _bare(name), name
            yield _bare(expression), name


def _bare(expression: str) -> str:
    expression = expression.strip()
    while expression.startswith("(") and _closing(expression) == len(expression) - 1:
        expression = expression[1:-1].strip()
    return expression


def _closing(text: str) -> int:
    return next((place for place, depth in _depths(text) if depth == 0 and text[place] == ")"), -1)


def _split(text: str, mark: str) -> list[str]:
    """Split outside of parentheses and quotes."""
    cuts = [place for place, depth in _depths(text) if depth == 0 and text.startswith(mark, place)]
    starts = [0, *(cut + len(mark) for cut in cuts)]
    return [text[start:end] for start, end in zip(starts, [*cuts, len(text)], strict=True)]


def _rsplit(text: str, mark: str) -> tuple[str, str, str]:
    parts = _split(text, mark)
    return (text, "", "") if len(parts) == 1 else (mark.join(parts[:-1]), mark, parts[-1])


def _depths(text: str) -> Iterator[tuple[int, int]]:
    """Yield each place outside of quotes with the number of parentheses around it; a closing one is outside."""
    depth, quote = 0, ""
    for place, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote else quote
            continue
        if sign in "'\"":
            quote = sign
        depth += {"(": 1, ")": -1}.get(sign, 0)
        if not quote:
            yield place, depth
