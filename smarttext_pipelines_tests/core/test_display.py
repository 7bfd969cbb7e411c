"""Text from outside: cleaned once, and what is clean stays as it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smarttext_pipelines.core.display import LINE_LENGTH, NAME_LENGTH, NO_NAME, shown, shown_name
from smarttext_pipelines_tests.hostile import CONTROLS, NAMES


@given(st.text(max_size=700), st.sampled_from([60, LINE_LENGTH]))
def test_whatever_is_shown_is_one_short_line_without_anything_invisible(text: str, longest: int) -> None:
    line = shown(text, longest)
    assert len(line) <= longest
    assert "\n" not in line
    assert not CONTROLS.search(line)


@given(st.text(max_size=700))
def test_what_is_clean_stays_as_it_is(text: str) -> None:
    assert shown(shown(text)) == shown(text)


@pytest.mark.parametrize(
    "name", ["Hartley Plumbing", "Café Łódź & Söhne", "佐藤水道", "محل السباكة", "O'Brien <24/7>", "🔧 Fix-It"]
)
def test_an_honest_name_is_shown_as_it_is(name: str) -> None:
    assert shown_name(name) == name


@pytest.mark.parametrize("what", NAMES)
def test_a_name_is_at_most_sixty_characters_and_never_nothing(what: str) -> None:
    assert 0 < len(shown_name(NAMES[what])) <= NAME_LENGTH


def test_who_has_no_name_is_called_so() -> None:
    assert [shown_name(name) for name in (None, "", " ", "\u3164", "\x1b\x07")] == [NO_NAME] * 5


@pytest.mark.parametrize("gap", ["", "\u200b", "\u2060", "\xad"])
def test_an_invisible_sign_hides_no_number(gap: str) -> None:
    assert shown_name(f"Call +1555{gap}010{gap}0001") == "Call [phone]"
