"""The one writer of a process: made with the first event and again after a fork, flushed at exit."""

import atexit
import logging
import os
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, cast

from smarttext_pipelines.core.errors import SettingsError
from smarttext_pipelines.core.redact import scrub
from smarttext_pipelines.database.connect import parse_url
from smarttext_pipelines.tracking.journals import require_folder
from smarttext_pipelines.tracking.writer import Writer, WriterOptions

EXIT_TIMEOUT_S = 5.0
SPILL_BYTES, BUFFER_BYTES = 256 * 2**20, 16 * 2**20
FALLBACK_FOLDER = Path(".smarttext/spill")
_log = logging.getLogger("smarttext_pipelines.tracking")


@dataclass(frozen=True)
class Counters:
    """What became of the events of this process.

    Attributes:
        accepted: Valid events.
        written: Of those, in the database.
        spilled: Of those, that an attempt to write them found waiting in a file and left there.
        buffered: Of those, ever in memory only, because no file could be written: a kill would have lost them.
        dropped: Of those, lost because files and memory were full.
        damaged: Events that were lost because a file was damaged, also one left by an ended process.
        rejected: Events that were not valid, or that the database refused; those are in ``TABLE.rejected``.
        trimmed: Events with a field that is not a key value and was cleaned, cut or left out.
        odd_numbers: Events with an invalid telephone number, which is written as passed.
        pending: Accepted, and neither written, lost nor refused.
        by_policy: Decisions on the budget that the policy took, because the store did not answer.
    """

    accepted: int = 0
    written: int = 0
    spilled: int = 0
    buffered: int = 0
    dropped: int = 0
    damaged: int = 0
    rejected: int = 0
    trimmed: int = 0
    odd_numbers: int = 0
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


_lock = threading.RLock()
"""A signal handler may come in the middle of what holds it, and record events, too."""

_configuring = threading.RLock()
"""Held while the settings are read, so that only one of many first callers does."""

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
        synchronous: Wait until each event is written, where the database can be used, and raise ValueError for bad
            values.
        policy: What to do when the budget cannot be asked in time: ``closed`` refuses, ``open`` admits,
            ``open_local`` admits up to ``local_allowance`` tokens of this process and day.
        local_allowance: Tokens for ``open_local``.
        decide_within_s: How long a caller waits for a decision on the budget.
        spill_folder: Folder of the files that hold events until they are written; default is ``spill`` in
            SMARTTEXT_DATA_DIR.
        spill_bytes: Bytes that this process may have waiting there at most.
        buffer_bytes: Bytes in memory at most while no file can be written, such as on a full disk.

    Raises:
        ValueError: The policy is none of the three.
        SettingsError: The URL, or a setting, cannot be read, or the folder cannot be written.
    """
    if policy not in ("closed", "open", "open_local"):
        msg = f"policy is '{policy}'; choose closed, open or open_local"
        raise ValueError(msg)
    # Importing this library must not read the environment.
    from smarttext_pipelines.settings import load_settings

    with _configuring:
        settings = load_settings()
        url = database_url or (settings.database_url.get_secret_value() if settings.database_url else None)
        if url is not None:
            parse_url(url)
        # An application may change its working directory, and become a daemon, afterwards.
        folder = (Path(spill_folder) if spill_folder else settings.data_dir / "spill").absolute()
        require_folder(folder)
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
            _close_with_worker()
            writer = Writer(options())
            # A signal handler may have made one meanwhile; none runs between this question and its answer.
            if _process.writer is None:
                _process.writer = writer
        return _process.writer


def options() -> WriterOptions:
    """Return how this process tracks; where settings or folder cannot be used, events wait in another folder."""
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
        folder = FALLBACK_FOLDER.absolute()
        _process.options = WriterOptions(_known_url(), folder, SPILL_BYTES, BUFFER_BYTES, synchronous=False)


def _known_url() -> str | None:
    from smarttext_pipelines.settings import load_settings

    try:
        url = load_settings().database_url
        if url is not None:
            parse_url(url.get_secret_value())
    except SettingsError:
        return None
    return url.get_secret_value() if url else None


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
    """Write the events of this process, and what ended processes left in its folder, within ``timeout`` seconds.

    Returns:
        Whether every accepted event of this process was taken by the database, or refused by it. False when some
        still wait, or when any was lost since the process was configured.
    """
    if _process.writer is None and _process.options is None:
        return True
    return current().flush(timeout)


def counters() -> Counters:
    """Return what became of the events of this process."""
    counts: Any = _process.writer.counts() if _process.writer else {}
    return Counters(**counts)


def _at_exit() -> None:
    if _process.writer is not None:
        _process.writer.close(EXIT_TIMEOUT_S)


def _close_with_worker() -> None:
    """Close the writer when a worker of multiprocessing ends in order: it runs its finalizers, and no atexit."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None and sys.modules["multiprocessing.process"].parent_process() is not None:
        util.Finalize(None, _at_exit, exitpriority=100)


def _after_fork() -> None:
    # The parent writes its own events; its thread and its locks do not exist here, its files are closed (journal).
    global _lock, _configuring
    _lock, _configuring = threading.RLock(), threading.RLock()
    _process.writer = None


os.register_at_fork(after_in_child=_after_fork)
