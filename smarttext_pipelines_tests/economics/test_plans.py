"""The file of plans: what it says, and one clear line for every mistake."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.economics.plans import Plan, load_plans, parse_plans

Command = Callable[..., tuple[int, str, str]]


def test_a_plan_says_what_it_costs_includes_and_who_has_it() -> None:
    text = "basic:\n  price_usd: 49.90\npro:\n  price_usd: 99\n  included_texts: 2000\n  included_tokens: 3000000\n"
    found = parse_plans(text + "  businesses: [Dover Street, 'Hartley: Plumbing']\n")
    assert found["basic"] == Plan("basic", Decimal("49.90"))
    assert found["pro"] == Plan("pro", Decimal(99), 2000, 3_000_000, ("Dover Street", "Hartley: Plumbing"))
    assert parse_plans("") == {} == load_plans(None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- basic", "line 1: here stand plans by their names"),
        ("basic: 49", "line 1: here stand keys of plan 'basic'"),
        ("basic:\n  price: 49", "line 2: unknown key 'price' in plan 'basic'; there are price_usd"),
        ("basic:\n  price_usd: much", "line 2: price_usd of plan 'basic': write an amount such as 99.50"),
        ("basic:\n  price_usd: -1", "line 2: price_usd of plan 'basic'"),
        ("basic:\n  price_usd: .nan", "line 2: price_usd of plan 'basic'"),
        ("basic:\n  price_usd: 0.0000001", "line 2: price_usd of plan 'basic'"),
        ("basic:\n  price_usd: [1]", "line 2: price_usd of plan 'basic'"),
        (
            "basic:\n  price_usd: 1\n  included_texts: 1.5",
            "included_texts of plan 'basic': write a whole number",
        ),
        ("basic:\n  included_texts: 1", "line 2: plan 'basic' lacks price_usd"),
        ("basic:\n  price_usd: 1\n  businesses: [[a]]", "line 3: businesses of plan 'basic'"),
        ("basic:\n  price_usd: 1\n  businesses: ['']", "line 3: businesses of plan 'basic'"),
        ("basic:\n  price_usd: 1\nbasic:\n  price_usd: 2", "line 3: 'basic' stands twice"),
        (
            "a:\n  price_usd: 1\n  businesses: [B]\nb:\n  price_usd: 2\n  businesses: [b]",
            "'b' has two plans, 'a' and 'b'",
        ),
        ("basic: [", "no YAML"),
        ("basic:\n  price_usd: \x00", "no YAML"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        parse_plans(text, "plans.yaml")
    assert said in str(error.value)
    assert str(error.value).startswith("plans.yaml, ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", [None, "basic: 49", "basic:\n  price_usd: 1\n  businesses: [nobody]"])
def test_a_wrong_file_is_one_line_and_exit_code_2(
    smarttext: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None
) -> None:
    place = tmp_path / "plans.yaml"
    if text is not None:
        place.write_text(text)
    monkeypatch.setenv("SMARTTEXT_PLANS", str(place))
    code, out, error = smarttext("economics")
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert "plan" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    "arguments", [["--month", "2026"], ["--month", "2100-01"], ["--month", ""], ["--business", "nobody"]], ids=" ".join
)
def test_a_mistake_on_the_command_line_is_exit_code_2(smarttext: Command, arguments: list[str]) -> None:
    code, out, error = smarttext("economics", *arguments)
    assert (code, out) == (2, "")
    assert "Traceback" not in error
