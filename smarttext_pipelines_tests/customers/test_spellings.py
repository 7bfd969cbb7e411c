"""A number is one recipient and one customer in any spelling, by one rule in Python and in SQL."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from smarttext_pipelines.core.customer_keys import e164, e164_in_sql
from smarttext_pipelines_tests import reference
from smarttext_pipelines_tests.conftest import SOAK, Database
from smarttext_pipelines_tests.customers.test_suppressions import FIRST, LIST, ago, failed, put, said, verdict


@pytest.mark.parametrize("country", ["45", "4512", "64", "358", "1555"])
def test_a_number_is_one_recipient_in_any_spelling(database: Database, country: str) -> None:
    """Ten digits behind 00 or 011 have their country; ten digits alone are of North America."""
    digits = country + "2345678901"[: (11 if country[0] == "1" else 10) - len(country)]
    spaced = f"{digits[:2]} {digits[2:5]}-{digits[5:]}"
    spelled = [f"+{digits}", f"00{digits}", f"011 {spaced}", f"whatsapp:+{digits}", f"\u202awhatsapp:00{spaced}"]
    spelled += [digits, digits[1:]] if country == "1555" else []
    assert {e164(each) for each in spelled} == {f"+{digits}"}
    texts = [failed(n, ago(days=2), "30007", to_number=each, business_id=FIRST) for n, each in enumerate(spelled)]
    stop = said(1, ago(days=1), from_number=spelled[-1], payload={"Body": "STOP"})
    put(database, texts=texts, inbound=[stop])
    assert {verdict(database, FIRST, each) for each in spelled} == {"opted_out"}
    assert [(row["recipient"], row["verdict"]) for row in database.rows(LIST)] == [(f"+{digits}", "opted_out")]
    assert verdict(database, FIRST, digits if country != "1555" else f"+{digits[1:]}") == "allowed"


@settings(max_examples=300 if SOAK else 60)
@given(st.from_regex(r"\A(whatsapp:)?(\+|00|011|0|1)?[ -]?[0-9]{2,5}[ .)]?[0-9]{2,12}\Z") | st.text(max_size=12))
def test_postgresql_reads_a_number_as_python_does(database: Database, number: str) -> None:
    assume("\0" not in number)
    with database.engine.connect() as connection:
        (found,) = connection.exec_driver_sql("SELECT " + e164_in_sql("%s::text"), (number,)).one()
    assert found == e164(number) == reference.e164(number)
