"""A statement that another process compiled is the one that compiling it here gives, or it is not taken."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from zoneinfo import ZoneInfo

import ibis
import ibis.expr.types as ir
import pytest

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.engines import ArchiveEngine, compiled, statement_cache
from smarttext_pipelines.engines.engine import Parameters
from smarttext_pipelines.engines.postgres import PostgresEngine
from smarttext_pipelines.engines.unbound import unbound_parameter, unbound_table
from smarttext_pipelines.explain import behind_calls, behind_texts, behind_usage
from smarttext_pipelines.metrics import METRICS, Window, messages
from smarttext_pipelines.metrics.windowed import Tables, remembered
from smarttext_pipelines.schema.tables import metadata
from smarttext_pipelines_tests.events import CUSTOMER_SECRET

FIRST = date(2026, 3, 7)
BUILDERS: dict[str, Any] = {
    "replies": behind_calls.replies_in_order,
    "texts": behind_texts.texts_in_order,
    "failures": behind_texts._counted_by("sms_failure_count"),
    "suppressed": behind_texts._counted_by("sms_suppressed_count"),
    "usage": behind_usage._counted_by("openai_requests"),
    "cost": behind_usage._counted_by("cost_usd"),
} | {f"{name}.{part}": getattr(metric, part) for name, metric in METRICS.items() for part in ("rows", "source_totals")}


def _window(days: int, zone: str = "America/New_York") -> Window:
    last = FIRST + timedelta(days=days - 1)
    return Window(DayRange(FIRST, last), ZoneInfo(zone), 4, datetime(2026, 6, 1, 7, 30, 1, 5, tzinfo=UTC))


def _tables() -> dict[str, ir.Table]:
    tables = {table.name: unbound_table(table) for table in metadata.tables.values()}
    parameters = Parameters(_window(1), customer_secret=CUSTOMER_SECRET).tables
    return tables | {key: unbound_parameter(key, rows) for key, rows in parameters.items()}


def written() -> dict[str, str]:
    """Return the statement of every builder, of a day and of three, on both engines, as this process gives it."""
    tables = _tables()
    return {
        f"{name} {days} {sql.__qualname__}": sql(build(tables, _window(days)))
        for name, build in BUILDERS.items()
        for days in (1, 3)
        for sql in (PostgresEngine.sql, ArchiveEngine.sql)
    }


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], Path]:
    """A cache of its own, in which nothing is; called, this process forgets what it has compiled."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(statement_cache, "_folder", statement_cache._folder.__wrapped__)

    def forget() -> Path:
        monkeypatch.setattr(compiled, "_shapes", {})
        monkeypatch.setattr(compiled, "_latest", {})
        return tmp_path / "smarttext" / "statements"

    forget()
    return forget


def _of_another_process(caches: Path) -> dict[str, str]:
    """Return what ``written`` gives in a process, whose hashes, and so the order of conditions, are always the same."""
    program = f"import json; from {__name__} import written; print(json.dumps(written()))"
    env = os.environ | {
        "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path), "XDG_CACHE_HOME": str(caches),
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_another_process_kept_is_what_one_compiles_that_finds_nothing(
    cache: Callable[[], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _of_another_process(tmp_path)
    kept = _files(cache())
    monkeypatch.setattr(compiled, "_shape", lambda *_: pytest.fail("compiled although it was kept"))
    from_disk = written()
    assert len(kept) == len(from_disk), "a file for each"
    assert from_disk == _of_another_process(tmp_path / "empty")


def test_the_columns_of_a_kept_statement_are_those_of_its_expression(cache: Callable[[], Path]) -> None:
    tables = _tables()
    for metric in METRICS.values():
        PostgresEngine.sql(metric.rows(tables, _window(1)))
        cache()
        unbuilt = remembered(metric.rows.__wrapped__)(tables, _window(1))  # type: ignore[attr-defined]
        PostgresEngine.sql(unbuilt)
        assert "expression" not in unbuilt.shape.__dict__, "not built"
        assert unbuilt.schema() == unbuilt.usual.schema()


@pytest.mark.parametrize("damage", ["a byte", "nothing left", "half"])
def test_a_file_that_is_not_what_was_written_is_compiled_again(cache: Callable[[], Path], damage: str) -> None:
    expression = METRICS["spend"].rows(_tables(), _window(1))
    text = PostgresEngine.sql(expression)
    (file,) = _files(cache())
    kept = file.read_bytes()
    at = kept.index(b"SUM") + 1
    damaged = {"a byte": kept[:at] + b"Y" + kept[at + 1 :], "nothing left": b"", "half": kept[: len(kept) // 2]}
    file.write_bytes(damaged[damage])
    assert PostgresEngine.sql(expression) == text
    assert file.read_bytes() == kept, "written again"


def test_sources_that_changed_find_nothing_that_others_kept(
    cache: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    expression = METRICS["spend"].rows(_tables(), _window(1))
    PostgresEngine.sql(expression)
    (file,) = _files(cache())
    real = Path.read_bytes
    changed = Path(messages.__file__)
    monkeypatch.setattr(Path, "read_bytes", lambda path: real(path) + (b"#" if path == changed else b""))
    PostgresEngine.sql(expression)
    assert len({path.parent for path in _files(file.parents[1])}) == 2
    os.utime(file.parent, (0, 0))
    monkeypatch.setattr(Path, "read_bytes", lambda path: real(path) + (b"##" if path == changed else b""))
    cache()
    PostgresEngine.sql(expression)
    assert not file.exists(), "what an old version kept is deleted after a month"


def test_a_builder_of_somebody_else_or_one_that_captured_what_cannot_be_told_is_never_kept(
    cache: Callable[[], Path],
) -> None:
    def plain(tables: Tables, _window: Window) -> ir.Table:
        return tables["call_events"].select("id")

    def of(window: object) -> Callable[[Tables, Window], ir.Table]:
        def build(tables: Tables, _: Window) -> ir.Table:
            return tables["call_events"].select(n=ibis.literal(str(window)))

        build.__module__ = messages.__name__
        return build

    tables = _tables()
    for build in (plain, of([1])):
        PostgresEngine.sql(remembered(build)(tables, _window(1)))
    assert _files(cache()) == []
    names = {remembered(of(captured))(tables, _window(1)).shape.name for captured in (1, 2, "1", (1, 2), (1, "2"))}
    assert len(names) == 5
    assert None not in names


def test_where_nothing_can_be_written_statements_are_compiled_all_the_same(
    cache: Callable[[], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expression = METRICS["spend"].rows(_tables(), _window(1))
    (tmp_path / "smarttext").touch()
    assert "SELECT" in PostgresEngine.sql(expression)
    cache()
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", Mock(side_effect=RuntimeError("no home")))
    assert "SELECT" in PostgresEngine.sql(expression)


def test_a_folder_that_others_can_write_to_is_neither_read_nor_written(cache: Callable[[], Path]) -> None:
    expression = METRICS["spend"].rows(_tables(), _window(1))
    text = PostgresEngine.sql(expression)
    (file,) = _files(cache())
    _forge(file)
    assert PostgresEngine.sql(expression) == "SELECT 1", "what only we can have written is trusted"
    cache()
    file.parent.chmod(0o770)
    assert PostgresEngine.sql(expression) == text
    file.unlink()
    cache()
    PostgresEngine.sql(expression)
    assert not file.exists()


def _forge(file: Path) -> None:
    kept = json.loads(file.read_bytes().partition(b"\n")[2]) | {"text": "SELECT 1"}
    told = json.dumps(kept).encode()
    file.write_bytes(statement_cache._digest(told) + b"\n" + told)
