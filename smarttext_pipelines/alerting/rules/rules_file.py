"""The file of rules: YAML in, rules out; every mistake with its line."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from smarttext_pipelines.alerting.metrics.alert_metric import LONGEST_SHORT_WINDOW
from smarttext_pipelines.alerting.rules.rule import MAX_SHORT_WINDOWS, Limits, Rule
from smarttext_pipelines.core.errors import InputError

SHIPPED = files("smarttext_pipelines.alerting") / "alert_rules.yaml"

_KEYS = {field.alias or name for name, field in Rule.model_fields.items()} - {"name"}


@dataclass(frozen=True)
class Mistake:
    """What is wrong, and in which line (from 1)."""

    line: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}"


class RulesError(InputError):
    """A file of rules has mistakes; the message is the first, ``mistakes`` are all."""

    def __init__(self, place: str, mistakes: list[Mistake]) -> None:
        more = f" ({len(mistakes) - 1} more: `smarttext alerts validate FILE`)" if len(mistakes) > 1 else ""
        super().__init__(f"{place}, {mistakes[0]}{more}")
        self.mistakes = mistakes


def load_rules(path: Path | None, *, source: str = "SMARTTEXT_ALERT_RULES") -> dict[str, Rule]:
    """Return the rules of a file by name; of the shipped one when there is no path.

    Args:
        path: The file.
        source: Setting that names it; nothing where somebody wrote it.

    Raises:
        RulesError: The file has mistakes.
        InputError: It cannot be read.
    """
    if path is None:
        return parse_rules(SHIPPED.read_text(encoding="utf-8"), "alert_rules.yaml")
    try:
        return parse_rules(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        advice = f"{source} names the file of alert rules" if source else "name a file of alert rules"
        msg = f"{path} cannot be read: {reason}; {advice}"
        raise InputError(msg) from None


def parse_rules(text: str, place: str = "rules") -> dict[str, Rule]:
    """Return the rules of a text by name; raise RulesError with every mistake."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        mistake = Mistake(mark.line + 1 if mark else 1, f"no YAML: {getattr(error, 'problem', None) or error}")
        raise RulesError(place, [mistake]) from None
    mistakes, rules = [], {}
    for found in _rules(root):
        if isinstance(found, Mistake):
            mistakes.append(found)
        else:
            rules[found.name] = found
    mistakes += _too_many_windows(rules) if not mistakes else []
    if mistakes:
        raise RulesError(place, sorted(mistakes, key=lambda m: m.line))
    return rules


def _rules(root: yaml.Node | None) -> Iterator[Rule | Mistake]:
    top = dict(_entries(root)) if isinstance(root, yaml.MappingNode) else {}
    for key, (line, _) in top.items():
        if key != "rules":
            yield Mistake(line, f"unknown key '{key}'; at the top stands 'rules'")
    section = top.get("rules", (1, None))[1]
    if not isinstance(section, yaml.MappingNode):
        yield Mistake(top.get("rules", (1, None))[0], "'rules' must hold rules by their names")
        return
    if not section.value:
        yield Mistake(top["rules"][0], "there is no rule: nothing would be watched")
    seen: set[str] = set()
    for name, (line, node) in _entries(section):
        if name in seen:
            yield Mistake(line, f"there are two rules '{name}'")
        elif not isinstance(node, yaml.MappingNode):
            yield Mistake(line, f"rule '{name}' must hold keys such as 'metric' and 'threshold'")
        else:
            yield from _rule(name, line, node)
        seen.add(name)


def _rule(name: str, line: int, node: yaml.MappingNode) -> Iterator[Rule | Mistake]:
    lines: dict[tuple[str, ...], int] = {(key,): place for key, (place, _) in _entries(node)}
    for key, (_, inner) in _entries(node):
        lines |= {(key, sub): place for sub, (place, _) in _entries(inner)}
        for sub, (_, deepest) in _entries(inner):
            lines |= {(key, sub, last): place for last, (place, _) in _entries(deepest)}
    duplicates = [(place, key) for place, key in _repeated(node)]
    yield from (Mistake(place, f"'{key}' stands twice in rule '{name}'") for place, key in duplicates)
    values: Any = yaml.SafeLoader("").construct_document(node)
    try:
        yield Rule.model_validate({"name": name, **values})
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            path = tuple(str(part) for part in fault["loc"] if part not in ("name", "[key]"))
            place = next((lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in lines), line)
            yield Mistake(place, _explain(name, path, fault))


def _explain(rule: str, path: tuple[str, ...], fault: Any) -> str:
    key = ".".join(path)
    if fault["type"] == "extra_forbidden":
        known = _KEYS if len(path) == 1 else set(Limits.model_fields)
        near = get_close_matches(path[-1], known, n=1)
        return f"unknown key '{key}' in rule '{rule}'" + (f"; did you mean '{near[0]}'?" if near else "")
    if fault["type"] == "missing":
        return f"rule '{rule}' lacks '{key}'"
    said = str(fault["msg"]).removeprefix("Value error, ")
    if "timedelta" in fault["type"] or "time_delta" in fault["type"]:
        said = f"'{fault['input']}' is no duration; write it as 30m, 6h or 7d"
    return f"rule '{rule}'{f', {key}' if key else ''}: {said}"


def _entries(node: Any) -> Iterator[tuple[str, tuple[int, Any]]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield str(key.value), (key.start_mark.line + 1, value)


def _repeated(node: yaml.MappingNode) -> Iterator[tuple[int, str]]:
    seen: set[str] = set()
    for key, (line, _) in _entries(node):
        if key in seen:
            yield line, key
        seen.add(key)


def _too_many_windows(rules: dict[str, Rule]) -> list[Mistake]:
    """Each window of messages up to 6 h is counted by itself; more than three would cost more than they tell."""
    short = {rule.window for rule in rules.values() if rule.window <= LONGEST_SHORT_WINDOW}
    if len(short) <= MAX_SHORT_WINDOWS:
        return []
    told = ", ".join(sorted(f"{window.total_seconds() / 60:.0f}m" for window in short))
    return [Mistake(1, f"at most {MAX_SHORT_WINDOWS} different windows up to 6h, these are {told}")]
