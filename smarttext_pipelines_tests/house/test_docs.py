"""Documentation that can be checked is checked."""

import re
from pathlib import Path

import pytest

from smarttext_pipelines.settings import Settings, variable_of
from smarttext_pipelines_tests.docs import DOCS, PAGES

ROOT = DOCS.parent
PAGES_WITH_LINKS = [*ROOT.glob("*.md"), *DOCS.glob("*.md")]


@pytest.mark.parametrize("page", PAGES)
def test_generated_pages_are_those_of_the_code(page: str) -> None:
    assert (DOCS / page).read_text() == PAGES[page](), "run `make docs`"


def test_every_setting_is_in_the_example_file() -> None:
    example = (ROOT / ".env.example").read_text()
    for name in Settings.model_fields:
        assert f"#{variable_of(name)}=" in example


@pytest.mark.parametrize("page", PAGES_WITH_LINKS, ids=lambda p: p.name)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_readme_names_only_make_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)`", "".join(p.read_text() for p in PAGES_WITH_LINKS)))
    assert named <= targets
