"""Rooms stay small: files, functions and branches have limits, and a file's name says which one is meant."""

import ast
from collections import Counter
from pathlib import Path

import smarttext_pipelines

ROOT = Path(smarttext_pipelines.__file__).parent
FILES = sorted(path for kind in ("*.py", "*.sql") for path in ROOT.rglob(kind))
MODULES = [path for path in FILES if path.suffix == ".py"]
MAX_LINES, MAX_FUNCTION_LINES, MAX_COMPLEXITY = 300, 60, 12
_BRANCHES = (ast.If, ast.For, ast.While, ast.ExceptHandler, ast.comprehension, ast.match_case)


def _named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def complexity(function: ast.AST) -> int:
    """Return McCabe's number of a function, with each ``and`` and ``or`` as a branch of its own."""
    count = 1
    for node in ast.walk(function):
        count += isinstance(node, _BRANCHES)
        count += len(node.values) - 1 if isinstance(node, ast.BoolOp) else 0
    return count


def test_a_file_is_one_room() -> None:
    lines = {_named(path): len(path.read_text().splitlines()) for path in FILES}
    assert lines
    long = {name: count for name, count in lines.items() if count > MAX_LINES}
    assert not long, "make two rooms of each"


def test_a_function_fits_on_a_page() -> None:
    functions = {
        f"{_named(path)}: {node.name} in line {node.lineno}": node
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert len(functions) > len(MODULES)
    lines = {name: (node.end_lineno or 0) - node.lineno + 1 for name, node in functions.items()}
    assert {name: count for name, count in lines.items() if count > MAX_FUNCTION_LINES} == {}
    branches = {name: complexity(node) for name, node in functions.items()}
    assert {name: count for name, count in branches.items() if count > MAX_COMPLEXITY} == {}


def test_no_file_name_is_used_twice() -> None:
    names = Counter(path.name for path in MODULES if path.name != "__init__.py")
    assert not [name for name, count in names.items() if count > 1]
