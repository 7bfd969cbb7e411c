"""The classes of failures are data, and every one of them says what to do."""

import pytest

from smarttext_pipelines.core.failure_classes import UNMAPPED, FailureClass, class_of, failure_classes
from smarttext_pipelines.schema.tables.statistics import sms_failure_rates
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
