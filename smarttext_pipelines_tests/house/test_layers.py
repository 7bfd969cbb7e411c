"""The arrows between the layers, and what importing costs."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import smarttext_pipelines

ROOT = Path(smarttext_pipelines.__file__).parent
ALLOWED = {
    "core": set(),
    "settings": {"core"},
    "database": {"core"},
    "sentry": {"core", "settings"},
    "metrics": {"core"},
    "schema": {"core", "database"},
    "archive": {"core", "database", "schema"},
    "budgets": {"core", "database", "schema"},
    "lake": {"core", "settings", "database", "schema", "archive"},
    "engines": {"core", "metrics", "database", "schema", "archive", "lake"},
    "rollup": {"core", "metrics", "engines", "database", "schema", "archive", "budgets", "lake"},
    "retention": {"core", "metrics", "engines", "database", "schema", "archive"},
    "tracking": {"core", "database", "schema", "sentry", "settings"},
    "twilio": {"core", "database", "schema", "settings"},
    "anomalies": {"core", "database"},
    "billing": {"core", "database"},
    "customers": {"core", "database"},
    "economics": {"core", "database", "schema"},
    "alerting": {"core", "metrics", "engines", "database", "schema", "sentry", "twilio", "settings", "anomalies"},
    "health": {
        "core",
        "database",
        "schema",
        "engines",
        "budgets",
        "billing",
        "alerting",
        "sentry",
        "twilio",
        "settings",
    },
    "explain": {"core", "metrics", "engines", "database", "schema"},
    "digest": {"core", "database", "schema", "budgets", "alerting", "settings", "anomalies", "economics", "customers"},
    "telemetry": {"core", "settings", "database", "schema", "budgets", "digest"},
    "web": {
        "core",
        "settings",
        "database",
        "schema",
        "metrics",
        "engines",
        "budgets",
        "alerting",
        "health",
        "digest",
        "explain",
        "telemetry",
        "anomalies",
        "billing",
        "customers",
    },
    "reports": {"core", "settings", "database", "metrics", "engines", "alerting", "digest", "explain", "web"},
    "sample": {"core", "database", "schema"},
    "defs": {
        "core",
        "settings",
        "database",
        "schema",
        "metrics",
        "archive",
        "lake",
        "budgets",
        "sentry",
        "rollup",
        "retention",
        "twilio",
        "alerting",
        "health",
        "digest",
        "anomalies",
        "reports",
        "billing",
        "economics",
    },
    "definitions": {"defs", "settings"},
    "launch": {
        "core",
        "settings",
        "database",
        "schema",
        "archive",
        "budgets",
        "sentry",
        "sample",
        "retention",
        "defs",
        "definitions",
    },
    "cli": {
        "core",
        "settings",
        "database",
        "schema",
        "archive",
        "lake",
        "budgets",
        "sentry",
        "sample",
        "rollup",
        "retention",
        "tracking",
        "twilio",
        "alerting",
        "health",
        "digest",
        "explain",
        "telemetry",
        "web",
        "launch",
        "anomalies",
        "billing",
        "customers",
        "reports",
        "economics",
    },
}
"""What each layer may import of the others; everything may import itself."""

DAGSTER_LAYERS = {"defs", "definitions", "launch"}


@cache
def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def _modules() -> list[tuple[str, Path]]:
    paths = sorted(p for p in ROOT.rglob("*.py") if p != ROOT / "__init__.py")
    return [(path.relative_to(ROOT).parts[0].removesuffix(".py"), path) for path in paths]


def test_a_layer_imports_only_what_lies_below_it() -> None:
    wrong = {}
    for layer, path in _modules():
        ours = {name.split(".")[1] for name in _imports(path) if name.startswith("smarttext_pipelines.")}
        wrong[str(path.relative_to(ROOT))] = ours - {layer} - ALLOWED[layer]
    assert len(wrong) > len(ALLOWED)
    assert {path: names for path, names in wrong.items() if names} == {}


def test_only_the_graph_imports_dagster() -> None:
    importing = {layer for layer, path in _modules() if any(n.split(".")[0] == "dagster" for n in _imports(path))}
    assert importing == DAGSTER_LAYERS


def test_only_settings_reads_the_environment() -> None:
    # DAGSTER_HOME and the environment of child processes are Dagster's own; NOTIFY_SOCKET is systemd's,
    # XDG_CACHE_HOME the desktop's.
    readers = {str(p.relative_to(ROOT)) for _, p in _modules() if "os.environ" in p.read_text()}
    assert readers <= {
        "settings/loading.py",
        "launch/databases.py",
        "launch/run_rollup.py",
        "launch/service_manager.py",
        "database/embedded_user.py",
        "engines/statement_cache.py",
    }


def _loaded_by(statement: str) -> set[str]:
    code = f"{statement}; import sys; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_tracking_loads_neither_dagster_nor_pandas_nor_ibis() -> None:
    assert not {"dagster", "pandas", "ibis"} & _loaded_by("import smarttext_pipelines.tracking")


def test_an_answer_loads_neither_arrow_nor_numpy_nor_another_database() -> None:
    assert not {"duckdb", "numpy", "pandas", "pyarrow"} & _loaded_by("import smarttext_pipelines.explain")


def test_the_compilers_of_other_databases_are_there_for_who_asks_later() -> None:
    """Only PostgreSQL's is imported for an answer; the package is whole for the next who imports it."""
    first = "from smarttext_pipelines.engines.postgres import PostgresCompiler as ours, sys"
    later = "from ibis.backends.sql.compilers import DuckDBCompiler, PostgresCompiler; assert PostgresCompiler is ours"
    unread = "assert not any(name.endswith('compilers.snowflake') for name in sys.modules)"
    assert _loaded_by("; ".join(("import sys", first.removesuffix(", sys"), unread, later)))


def test_the_graph_loads_no_engine_driver_or_provider_until_it_works() -> None:
    unused = {"ibis", "duckdb", "matplotlib", "psycopg", "requests", "twilio"}
    assert not unused & _loaded_by("import smarttext_pipelines.definitions")


def test_the_command_line_starts_without_dagster_and_alembic() -> None:
    assert not {"dagster", "alembic"} & _loaded_by("import smarttext_pipelines.cli.main")
