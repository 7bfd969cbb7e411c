"""Runs one command on a leash: ``python -m smarttext_pipelines.launch.child LOG GRACE COMMAND…``.

When standard input closes (because the process at the other end closed it or was killed) the command and all it started
get SIGTERM, and SIGKILL after GRACE seconds. Standard library only: there is one of these per process of ``up``.
"""

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

_STOPPING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_NOISE = re.compile(
    r"BetaWarning|PreviewWarning|SupersessionWarning"
    r"|Priority sorting and checking tag concurrency|runs are currently in progress\. Maximum is"
    r"|Checking run [0-9a-f-]{36}|Collected \d+ runs for monitoring"
    r"|Checking for new runs for sensor|Sensor \w+ skipped"
)
_POLL_SECONDS = 0.05


def main(arguments: list[str]) -> int:
    """Run the command until it ends or the leash is let go; return its exit code."""
    log_file, grace, *command = arguments
    signals = _watch_signals()
    child = subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, process_group=0
    )
    writer = threading.Thread(target=_write_log, args=(child.stdout, Path(log_file)), daemon=True)
    writer.start()
    while child.poll() is None and not _let_go(signals):
        pass
    _end_group(child, float(grace))
    writer.join(timeout=1)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def without_noise(lines: Iterable[str]) -> Iterator[str]:
    """Leave out records that nobody can act on, with the lines that continue them."""
    dropping = False
    for line in (_COLOUR.sub("", coloured) for coloured in lines):
        if _NOISE.search(line):
            dropping = True
        elif line.strip() and not line[0].isspace():
            dropping = False
        if not dropping:
            yield line


def _watch_signals() -> int:
    """Return a descriptor on which the numbers of arriving signals can be read."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in (*_STOPPING, signal.SIGCHLD):
        # A handler, unlike SIG_IGN, is not handed down: the command starts with the defaults.
        signal.signal(number, lambda *_: None)
    return reader


def _let_go(signals: int) -> bool:
    """Wait for an event; return whether it means to stop."""
    ready, _, _ = select.select([0, signals], [], [])
    arrived = set(os.read(signals, 64)) if signals in ready else set()
    return bool(arrived & _STOPPING) or (0 in ready and not os.read(0, 64))


def _end_group(child: subprocess.Popen[bytes], grace: float) -> None:
    deadline = time.monotonic() + grace
    _signal_group(child, signal.SIGTERM)
    while _signal_group(child, 0) and time.monotonic() < deadline:
        child.poll()
        time.sleep(_POLL_SECONDS)
    _signal_group(child, signal.SIGKILL)
    child.wait()


def _signal_group(child: subprocess.Popen[bytes], number: int) -> bool:
    """Send a signal to the command and all it started; return whether any of them is left."""
    try:
        os.killpg(child.pid, number)
    except (ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
        return False
    return True


def _write_log(output: IO[bytes], log_file: Path) -> None:
    with log_file.open("a", encoding="utf-8", buffering=1) as log, contextlib.suppress(ValueError):
        log.writelines(without_noise(line.decode(errors="replace") for line in output))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
