"""The classes of failures are data, and every one of them says what to do."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from smarttext_pipelines.core.errors import SettingsError
from smarttext_pipelines.core.failure_classes import UNMAPPED, FailureClass, class_of, failure_classes, use_codes
from smarttext_pipelines.schema.tables.statistics import sms_failure_rates
from smarttext_pipelines.settings import load_settings
from smarttext_pipelines_tests.reference import FAILURE_CODES


@pytest.mark.parametrize("each", failure_classes().values(), ids=lambda each: each.name)
def test_every_class_says_who_acts_and_what_the_next_step_is(each: FailureClass) -> None:
    assert each.next_step
    assert each.who
    assert each.reason


def test_codes_are_those_of_the_contract_and_each_has_one_class() -> None:
    told = {name: set(each.codes) for name, each in failure_classes().items()}
    assert told == FAILURE_CODES
    codes = [code for each in failure_classes().values() for code in each.codes]
    assert len(codes) == len(set(codes))


def test_a_code_that_is_not_listed_is_unmapped() -> None:
    assert class_of("99999").name == class_of(None).name == UNMAPPED


def test_rates_have_a_column_for_every_class() -> None:
    assert {f"failed_{name}" for name in failure_classes()} <= set(sms_failure_rates.c.keys())


@pytest.fixture
def codes(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "codes.csv"
    use_codes(None)


def test_a_file_of_the_installation_gives_a_code_its_class(codes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes.write_text("code,class\n# of our carrier\n\n99999, filtered\n30003,account\n")
    monkeypatch.setenv("SMARTTEXT_FAILURE_CODES", str(codes))
    load_settings()
    assert (class_of("99999").name, class_of("30003").name) == ("filtered", "account")
    monkeypatch.delenv("SMARTTEXT_FAILURE_CODES")
    load_settings()
    assert (class_of("99999").name, class_of("30003").name) == (UNMAPPED, "unreachable")


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (b"99999,nosuch", "line 1: write a code and one of "),
        (b"code,class\n99999,unmapped", "line 2: write a code and one of "),
        (b"3000x,filtered", "line 1: write a code"),
        (b"99999", "line 1: write a code"),
        (b"\xff", "it is no UTF-8 text"),
        (None, "cannot be read: No such file or directory; SMARTTEXT_FAILURE_CODES names a file"),
    ],
)
def test_a_file_of_codes_that_cannot_be_used_is_refused_with_its_line(
    codes: Path, written: bytes | None, says: str
) -> None:
    if written is not None:
        codes.write_bytes(written)
    with pytest.raises(SettingsError, match=says) as refused:
        use_codes(codes)
    assert str(codes) in str(refused.value)
    assert class_of("99999").name == UNMAPPED
