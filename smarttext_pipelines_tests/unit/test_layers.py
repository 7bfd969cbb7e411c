"""The arrows between the layers, and what importing costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import smarttext_pipelines

ROOT = Path(smarttext_pipelines.__file__).parent
ALLOWED = {
    "settings": {"core"},
    "core": set(),
    "metrics": {"core"},
    "storage": {"core"},
    "tracking": {"core", "storage", "providers", "settings"},
    "engines": {"core", "metrics", "storage"},
    "rollup": {"core", "metrics", "engines", "storage"},
    "retention": {"core", "metrics", "engines", "storage"},
    "sample": {"core", "storage"},
    "providers": {"core", "settings"},
    "health": {"core", "storage", "alerting", "providers", "settings"},
    "delivery": {"core", "storage", "providers"},
    "alerting": {"core", "metrics", "engines", "storage", "providers", "settings"},
    "receiver": {"core"},
    "explain": {"core", "metrics", "engines", "storage"},
    "digest": {"core", "storage", "alerting", "settings"},
    "defs": {
        "core",
        "metrics",
        "rollup",
        "alerting",
        "delivery",
        "digest",
        "providers",
        "health",
        "retention",
        "storage",
        "settings",
    },
    "definitions": {"defs", "settings"},
    "launch": {"core", "storage", "providers", "settings", "sample", "retention", "defs", "definitions"},
    "cli": {
        "core",
        "storage",
        "settings",
        "sample",
        "rollup",
        "alerting",
        "digest",
        "explain",
        "receiver",
        "tracking",
        "retention",
        "providers",
        "health",
        "launch",
    },
}
"""What each layer may import of the others; everything may import itself."""

DAGSTER_LAYERS = {"defs", "definitions", "launch"}


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


@pytest.mark.parametrize(("layer", "path"), _modules(), ids=lambda value: str(value).replace(str(ROOT), ""))
def test_a_layer_imports_only_what_lies_below_it(layer: str, path: Path) -> None:
    ours = {name.split(".")[1] for name in _imports(path) if name.startswith("smarttext_pipelines.")}
    assert ours - {layer} <= ALLOWED[layer]


@pytest.mark.parametrize(("layer", "path"), _modules(), ids=lambda value: str(value).replace(str(ROOT), ""))
def test_only_the_graph_imports_dagster(layer: str, path: Path) -> None:
    assert layer in DAGSTER_LAYERS or not any(name.split(".")[0] == "dagster" for name in _imports(path))


def test_only_settings_reads_the_environment() -> None:
    # DAGSTER_HOME and the environment of child processes are Dagster's own.
    readers = {str(p.relative_to(ROOT)) for _, p in _modules() if "os.environ" in p.read_text()}
    assert readers <= {"settings.py", "launch/databases.py", "launch/rollup.py", "storage/embedded_user.py"}


def _loaded_by(statement: str) -> set[str]:
    code = f"{statement}; import sys; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_tracking_loads_neither_dagster_nor_pandas_nor_ibis() -> None:
    assert not {"dagster", "pandas", "ibis"} & _loaded_by("import smarttext_pipelines.tracking")


def test_the_graph_loads_no_engine_until_it_computes() -> None:
    assert not {"ibis", "duckdb", "matplotlib", "twilio"} & _loaded_by("import smarttext_pipelines.definitions")


def test_the_command_line_starts_without_dagster() -> None:
    assert "dagster" not in _loaded_by("import smarttext_pipelines.cli.app")
