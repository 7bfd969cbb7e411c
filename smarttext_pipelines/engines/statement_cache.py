"""Compiled statements on disk, as Python keeps its bytecode: each process of a version compiles a shape but once.

A file is named by what its statement follows from: the builder, the tables, the usual window, the compiler, and every
source of this package. What cannot be read, or is not what was written, is compiled again.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

_OLD_S = 30 * 24 * 3600
"""Age in seconds at which what another version kept is deleted."""

_ABSENT = (OSError, ValueError, RuntimeError)
"""Raised by files that are missing or damaged, and where a user has no home."""


def find_kept(name: str) -> Any:
    """Return what some process of this version has kept under a name; None if none has."""
    with suppress(*_ABSENT):
        place = _place(name)
        digest, _, kept = place.read_bytes().partition(b"\n")
        if _is_ours(place.parent) and digest == _digest(kept):
            return json.loads(kept)
    return None


def keep(name: str, value: Any) -> None:
    """Keep what JSON can hold under a name; where nothing can be written, nothing is kept."""
    kept = json.dumps(value).encode()
    with suppress(*_ABSENT):
        place = _place(name)
        _make(place.parent)
        if not _is_ours(place.parent):
            return
        with tempfile.NamedTemporaryFile(dir=place.parent, delete=False) as file:
            file.write(_digest(kept) + b"\n" + kept)
        Path(file.name).replace(place)


def _is_ours(folder: Path) -> bool:
    """Return whether nobody else can have written there: what is kept is run with our rights."""
    found = folder.stat()
    return found.st_uid == os.getuid() and not found.st_mode & 0o022


def _place(name: str) -> Path:
    return _folder() / hashlib.sha256(name.encode()).hexdigest()


@cache
def _folder() -> Path:
    caches = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    written_by = hashlib.sha256(" ".join(version(name) for name in ("ibis-framework", "sqlglot")).encode())
    for source in sorted(Path(__file__).parents[1].rglob("*.py")):
        written_by.update(source.read_bytes())
    return Path(caches) / "smarttext" / "statements" / written_by.hexdigest()[:16]


def _make(folder: Path) -> None:
    if folder.is_dir():
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for other in _old(folder.parent):
        shutil.rmtree(other, ignore_errors=True)


def _old(versions: Path) -> Iterator[Path]:
    for each in versions.iterdir():
        with suppress(OSError):
            if time.time() - each.stat().st_mtime > _OLD_S:
                yield each


def _digest(kept: bytes) -> bytes:
    return hashlib.sha256(kept).hexdigest().encode()
