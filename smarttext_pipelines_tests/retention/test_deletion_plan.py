"""How PostgreSQL finds the rows that a file holds."""

from pathlib import Path
from typing import Any

import pytest
from psycopg import sql
from sqlalchemy import Connection

from smarttext_pipelines.archive.columns import run
from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.retention import deletion
from smarttext_pipelines_tests import strategies
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import insert_events
from smarttext_pipelines_tests.retention.test_retention import NOON, archive_day, count


def test_rows_are_joined_by_id_alone_and_only_those_that_have_one_of_the_file_are_hashed(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[str] = []

    def explained(connection: Connection, statement: sql.Composable, **values: Any) -> Any:
        # With few rows a loop over an index would join by nothing else whatever the statement is.
        for off in ("enable_nestloop", "enable_mergejoin"):
            connection.exec_driver_sql(f"SET LOCAL {off} = off")
        plans.append("\n".join(row[0] for row in run(connection, sql.SQL("EXPLAIN ") + statement, **values)))
        return run(connection, statement, **values)

    with database.engine.begin() as connection:
        insert_events(connection, {"sms_events": [strategies.sms_event(n, NOON) for n in range(50)]})
    monkeypatch.setattr(deletion, "run", explained)
    archive_day(database, ArchiveTarget(str(tmp_path)), "sms_events")
    assert count(database, "sms_events") == 0
    joined = [line.strip() for plan in plans for line in plan.splitlines() if "Hash Cond: " in line and "t.id" in line]
    assert joined
    assert not [line for line in joined if "md5" in line]
