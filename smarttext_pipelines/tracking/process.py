"""The one writer of a process: made when the first event is told, anew after a fork, emptied at exit."""

import atexit
import logging
import os
import threading
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, cast

from smarttext_pipelines.core.errors import SettingsError
from smarttext_pipelines.core.scrub import scrub
from smarttext_pipelines.storage.connect import parse_url
from smarttext_pipelines.tracking.writer import Writer, WriterOptions

EXIT_TIMEOUT_S = 5.0
SPILL_BYTES, BUFFER_BYTES = 256 * 2**20, 16 * 2**20
FALLBACK_FOLDER = Path(".smarttext/spill")
_log = logging.getLogger("smarttext_pipelines.tracking")


@dataclass(frozen=True)
class Counters:
    """What became of the events of this process.

    Attributes:
        accepted: Events that were told and valid.
        written: Of those, in the database.
        spilled: Of those, ever put into the file.
        dropped: Of those, lost because buffer and file were full.
        rejected: Events that were not valid, or that the database will never take.
        pending: Accepted, and neither written, dropped nor rejected by the database.
        by_policy: Decisions on the budget that the policy took, because the store did not answer.
    """

    accepted: int = 0
    written: int = 0
    spilled: int = 0
    dropped: int = 0
    rejected: int = 0
    pending: int = 0
    by_policy: int = 0


@dataclass
class _Process:
    options: WriterOptions | None = None
    writer: Writer | None = None
    policy: str = "closed"
    local_allowance: int = 0
    decide_within_s: float = 0.15
    local_spent: tuple[date | None, int] = (None, 0)


_lock = threading.Lock()
_configuring = threading.RLock()
"""Held by who reads the settings, so that of many first callers one does."""

_process = _Process()


def configure(
    *,
    database_url: str | None = None,
    synchronous: bool = False,
    policy: str = "closed",
    local_allowance: int = 10_000,
    decide_within_s: float = 0.15,
    spill_folder: str | Path | None = None,
    spill_bytes: int = SPILL_BYTES,
    buffer_bytes: int = BUFFER_BYTES,
) -> None:
    """Say how this process tracks; without it, the settings in the environment hold.

    Args:
        database_url: Default is SMARTTEXT_DATABASE_URL.
        synchronous: Write each event before the call returns, and raise ValueError for bad values.
        policy: What to do when the budget cannot be asked in time: ``closed`` refuses, ``open`` admits,
            ``open_local`` admits up to ``local_allowance`` tokens of this process and day.
        local_allowance: Tokens for ``open_local``.
        decide_within_s: How long a caller waits for a decision on the budget.
        spill_folder: Folder for what cannot be written now; default is ``spill`` in SMARTTEXT_DATA_DIR.
        spill_bytes: Most bytes it may hold.
        buffer_bytes: Bytes in memory beyond which the buffer goes to the file.

    Raises:
        ValueError: The policy is none of the three.
        SettingsError: The URL, or a setting, cannot be read.
    """
    if policy not in ("closed", "open", "open_local"):
        msg = f"policy is '{policy}'; choose closed, open or open_local"
        raise ValueError(msg)
    # Importing this library shall not read the environment.
    from smarttext_pipelines.settings import load_settings

    with _configuring:
        settings = load_settings()
        url = database_url or (settings.database_url.get_secret_value() if settings.database_url else None)
        if url is not None:
            parse_url(url)
        folder = Path(spill_folder) if spill_folder else settings.data_dir / "spill"
        with _lock:
            old = _process.writer
            _process.options = WriterOptions(url, folder, spill_bytes, buffer_bytes, synchronous)
            _process.writer = None
            _process.policy, _process.local_allowance = policy, local_allowance
            _process.decide_within_s = decide_within_s
    if old is not None:
        old.close(EXIT_TIMEOUT_S)


def current() -> Writer:
    """Return the writer of this process."""
    writer = _process.writer
    if writer is not None:
        return writer
    options()
    with _lock:
        if _process.writer is None:
            # Not at the import: what was registered last runs first, and Sentry must still be there.
            atexit.unregister(_at_exit)
            atexit.register(_at_exit)
            _process.writer = Writer(options())
        return _process.writer


def options() -> WriterOptions:
    """Return how this process tracks; where the settings cannot be read, events wait in a file."""
    if _process.options is None:
        with _configuring:
            if _process.options is None:
                _configure_by_settings()
    return cast("WriterOptions", _process.options)


def _configure_by_settings() -> None:
    try:
        configure()
    except SettingsError as error:
        _log.error("events wait in %s: %s", FALLBACK_FOLDER, scrub(str(error)))
        _process.options = WriterOptions(None, FALLBACK_FOLDER, SPILL_BYTES, BUFFER_BYTES, synchronous=False)


def decide_within_s() -> float:
    """Return how long a caller waits for a decision on the budget."""
    return _process.decide_within_s


def guard_policy() -> tuple[str, int]:
    """Return the policy and the local allowance."""
    return _process.policy, _process.local_allowance


def spend_locally(tokens: int, allowance: int) -> bool:
    """Take tokens from the allowance of this process and UTC day; False when it is used up."""
    today = datetime.now(UTC).date()
    with _lock:
        day, spent = _process.local_spent
        spent = spent if day == today else 0
        if spent + tokens > allowance:
            return False
        _process.local_spent = (today, spent + tokens)
        return True


def flush(timeout: float = 5.0) -> bool:
    """Wait up to ``timeout`` seconds until every accepted event is written; False when some still wait."""
    return _process.writer is None or _process.writer.flush(timeout)


def counters() -> Counters:
    """Return what became of the events of this process."""
    counts: Any = _process.writer.counts() if _process.writer else {}
    return Counters(**counts)


def _at_exit() -> None:
    if _process.writer is not None:
        _process.writer.close(EXIT_TIMEOUT_S)


def _after_fork() -> None:
    # The parent writes what it was told; its thread and its locks do not exist here.
    global _lock, _configuring
    _lock, _configuring = threading.Lock(), threading.RLock()
    if _process.writer is not None:
        # Else the locks of its files would outlive the parent.
        _process.writer.abandon()
    _process.writer = None


os.register_at_fork(after_in_child=_after_fork)
