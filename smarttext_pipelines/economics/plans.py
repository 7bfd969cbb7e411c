"""The file of plans: what a plan costs a month, what it includes, and which businesses have it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

import yaml

from smarttext_pipelines.core.errors import InputError

_NUMBERS = ("included_texts", "included_tokens")
_KEYS = ("price_usd", *_NUMBERS, "businesses")
_MOST = 10**12


@dataclass(frozen=True)
class Plan:
    """One plan.

    Attributes:
        name: Name, as ``businesses.subscription_tier`` has it.
        price_usd: Price of a month.
        included_texts: Texts of a month that the price includes; None where the file does not say.
        included_tokens: OpenAI tokens of a month that it includes; None where the file does not say.
        businesses: Ids or names of businesses that have it, whatever their ``subscription_tier``.
    """

    name: str
    price_usd: Decimal
    included_texts: int | None = None
    included_tokens: int | None = None
    businesses: tuple[str, ...] = ()


class _MistakeError(Exception):
    """What is wrong, at a place of the file."""

    def __init__(self, node: yaml.Node, said: str) -> None:
        super().__init__(f"line {node.start_mark.line + 1}: {said}")


def load_plans(path: Path | None) -> Mapping[str, Plan]:
    """Return the plans of the file by name; none where there is no file.

    Raises:
        InputError: The file cannot be read, or has a mistake; the message is one line with its place.
    """
    if path is None:
        return {}
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        msg = f"{path} cannot be read: {reason}; SMARTTEXT_PLANS names the file of plans"
        raise InputError(msg) from None
    return parse_plans(text, str(path))


def parse_plans(text: str, place: str = "plans") -> Mapping[str, Plan]:
    """Return the plans of a text by name; raise InputError with its first mistake."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        msg = f"{place}, {line}no YAML: {getattr(error, 'problem', None) or 'it holds a character that is not allowed'}"
        raise InputError(msg) from None
    try:
        return _plans(root)
    except _MistakeError as mistake:
        msg = f"{place}, {mistake}"
        raise InputError(msg) from None


def _plans(root: yaml.Node | None) -> Mapping[str, Plan]:
    if root is None:
        return {}
    plans: dict[str, Plan] = {}
    of_business: dict[str, str] = {}
    for key, node in _entries(root, "plans by their names"):
        plan = _plan(key.value, node)
        plans[plan.name] = plan
        for business in plan.businesses:
            other = of_business.setdefault(business.lower(), plan.name)
            if other != plan.name:
                raise _MistakeError(node, f"'{business}' has two plans, '{other}' and '{plan.name}'")
    return plans


def _plan(name: str, node: yaml.Node) -> Plan:
    found: dict[str, object] = {}
    for key, value in _entries(node, f"keys of plan '{name}', such as price_usd"):
        if key.value not in _KEYS:
            raise _MistakeError(key, f"unknown key '{key.value}' in plan '{name}'; there are {', '.join(_KEYS)}")
        if key.value == "businesses":
            found[key.value] = tuple(_names(value, name))
        else:
            found[key.value] = _amount(value, key.value, name)
    if "price_usd" not in found:
        raise _MistakeError(node, f"plan '{name}' lacks price_usd")
    return Plan(name, **found)  # type: ignore[arg-type]


def _amount(node: yaml.Node, key: str, plan: str) -> Decimal | int:
    is_whole = key in _NUMBERS
    try:
        amount = Decimal(node.value if isinstance(node, yaml.ScalarNode) else "")
    except InvalidOperation:
        amount = Decimal("NaN")
    finest = Decimal(1) if is_whole else Decimal("0.000001")
    if not amount.is_finite() or not 0 <= amount < _MOST or amount % finest:
        example = "a whole number such as 2000" if is_whole else "an amount such as 99.50"
        raise _MistakeError(node, f"{key} of plan '{plan}': write {example}")
    return int(amount) if is_whole else amount


def _names(node: yaml.Node, plan: str) -> Iterator[str]:
    items = node.value if isinstance(node, yaml.SequenceNode) else [node]
    for item in items:
        if not isinstance(item, yaml.ScalarNode) or not item.value.strip():
            raise _MistakeError(item, f"businesses of plan '{plan}': write a list of ids or names")
        yield item.value.strip()


def _entries(node: yaml.Node, what: str) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        raise _MistakeError(node, f"here stand {what}")
    seen: set[str] = set()
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or not key.value.strip():
            raise _MistakeError(key, f"here stand {what}")
        if key.value in seen:
            raise _MistakeError(key, f"'{key.value}' stands twice")
        seen.add(key.value)
        yield key, value
