"""The functions behind explain have the columns that metrics read, whatever they returned before."""

import pytest
from sqlalchemy import Connection, text

from smarttext_pipelines.schema import near_functions
from smarttext_pipelines.schema.near_functions import near_statements
from smarttext_pipelines_tests.conftest import Database

_COLUMNS = text("SELECT pg_get_function_result(CAST(:name AS regproc)), CAST(CAST(:name AS regproc) AS oid)::bigint")
_NAMES = ("monitoring.near_rows", "monitoring.masked_near_rows")
_NUMBER = {**near_functions.NEAR_COLUMNS["sms_events"], "body_length": "body_length"}
_TEXT = {**near_functions.NEAR_COLUMNS["sms_events"], "error_message": "error_message"}


def test_a_column_that_metrics_begin_to_read_is_returned(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with database.engine.connect() as connection:
        before = [connection.execute(_COLUMNS, {"name": name}).one() for name in _NAMES]
        _replace(connection)
        assert [connection.execute(_COLUMNS, {"name": name}).one() for name in _NAMES] == before
        monkeypatch.setitem(near_functions.NEAR_COLUMNS, "sms_events", _NUMBER)
        _replace(connection)
        after = [connection.execute(_COLUMNS, {"name": name}).one() for name in _NAMES]
        assert [row[0] for row in after] == [f"{row[0][:-1]}, body_length integer)" for row in before]
        kept = [row[1] for row in after]
        _replace(connection)
        assert [connection.execute(_COLUMNS, {"name": name}).one()[1] for name in _NAMES] == kept


def test_a_text_of_which_nobody_says_whether_it_holds_a_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(near_functions.NEAR_COLUMNS, "sms_events", _TEXT)
    with pytest.raises(ValueError, match="error_message may hold a number"):
        near_statements()


def _replace(connection: Connection) -> None:
    for statement in near_statements():
        connection.connection.cursor().execute(statement)  # Without parameters, a % is a %.
