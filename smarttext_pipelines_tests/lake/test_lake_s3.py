"""The same lake in an object store, beside the archive there."""

from typing import Any

import pyarrow.parquet as pq
import pytest

from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.lake.cutting_out import cut_out
from smarttext_pipelines.lake.export import export_days
from smarttext_pipelines.lake.lake_check import verify_lake
from smarttext_pipelines.lake.lake_day import Places
from smarttext_pipelines.lake.lake_target import LakeTarget
from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import cells, roll_up_all
from smarttext_pipelines_tests.retention import test_retention_s3 as s3

archive, loaded, proxy, store = s3.archive, s3.loaded, s3.proxy, s3.store


def test_a_lake_in_s3_is_written_read_checked_and_cut_by_the_same_code(
    loaded: Database,
    archive: ArchiveTarget,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("smarttext_pipelines.engines.choice.holds_most", lambda files, _window: bool(files))
    places = Places(LakeTarget(f"{archive.name}/lake"), archive)
    before = {name: cells(loaded.engine, name) for name in METRICS}
    s3.run(loaded, archive)
    assert [r.failure for r in export_days(loaded.engine, places, s3.AROUND) if r.failure] == []
    assert {c.failure for c in verify_lake(loaded.engine, places.lake)} == {None}
    results = roll_up_all(loaded.engine, s3.AROUND, as_of=s3.AS_OF, archive=archive, lake=places.lake)
    assert results["sms_outcomes"].engine == "archive"
    assert {name: cells(loaded.engine, name) for name in METRICS} == before
    rows = [row for key in _keys(loaded) for row in _read(archive, key)]
    digits = next(row["to_number"] for row in rows if row["to_number"].startswith("+1")).removeprefix("+")
    cut, rewritten = cut_out(loaded.engine, places.lake, digits)
    assert cut >= rewritten >= 1
    assert cut_out(loaded.engine, places.lake, digits) == (0, 0)


def _keys(database: Database) -> list[str]:
    return [
        row["key"] for row in database.rows("SELECT key FROM monitoring.lake_files WHERE table_name = 'sms_events'")
    ]


def _read(archive: ArchiveTarget, key: str) -> list[dict[str, Any]]:
    with archive._files.open(f"{archive.name.removeprefix('s3://')}/lake/{key}") as file:
        return pq.read_table(file).to_pylist()
