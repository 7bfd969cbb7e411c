"""The child processes of ``smarttext up``: started on a leash, watched, and stopped.

The leash is a pipe (see ``child``), so they end even when this process is killed.
"""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from smarttext_pipelines.core.errors import SmartTextError
from smarttext_pipelines.database.embedded_process import prepare_log

_TOLD_LINES = 15


class ChildEndedError(SmartTextError):
    """A process that should run has ended; the message holds the end of its log."""


@dataclass(frozen=True)
class Child:
    """A running process and where it logs."""

    name: str
    process: subprocess.Popen[bytes]
    log_file: Path
    log_start: int

    def let_go(self) -> None:
        """Ask it to end."""
        if self.process.stdin:
            self.process.stdin.close()

    def stop(self) -> None:
        """Ask it to end and wait until it has."""
        self.let_go()
        self.process.wait()

    def said(self) -> str:
        """Return the last lines of its log."""
        with self.log_file.open("rb") as log:
            log.seek(self.log_start)
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join([*lines[-_TOLD_LINES:], f"(see {self.log_file})"])


@dataclass
class Children:
    """Starts processes that live as long as this context; the first serves the others and ends after them.

    Attributes:
        locks: Descriptors of the locks that each process holds until it has ended, and all it started.
    """

    environment: dict[str, str]
    log_dir: Path
    locks: Sequence[int]
    running: list[Child] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: type[BaseException] | None, _value: object, _trace: TracebackType | None) -> None:
        served = self.running[1:]
        for child in reversed(served):
            child.let_go()
        for child in (*served, *self.running[:1]):
            child.stop()

    def start(self, name: str, command: Sequence[str], *, grace: float) -> Child:
        """Start a module of this Python; it gets ``grace`` seconds to end when it is asked to."""
        log_file = prepare_log(self.log_dir / f"{name}.log")
        log_file.touch()
        leash = [sys.executable, "-m", "smarttext_pipelines.launch.child", str(log_file), str(grace)]
        process = subprocess.Popen(  # noqa: S603
            [*leash, sys.executable, "-m", *command],
            stdin=subprocess.PIPE,
            env=self.environment,
            pass_fds=self.locks,
            start_new_session=True,
        )
        child = Child(name, process, log_file, log_file.stat().st_size)
        self.running.append(child)
        return child

    def run(self, name: str, command: Sequence[str], *, grace: float = 5) -> None:
        """Run a module of this Python to its end.

        Raises:
            ChildEndedError: It failed.
        """
        child = self.start(name, command, grace=grace)
        code = child.process.wait()
        child.stop()
        self.running.remove(child)
        if code:
            msg = f"{name} failed with exit code {code}:\n{child.said()}"
            raise ChildEndedError(msg)

    def check(self) -> None:
        """Raise ChildEndedError when one of them has ended."""
        for child in self.running:
            code = child.process.poll()
            if code is not None:
                msg = f"{child.name} ended with exit code {code}:\n{child.said()}"
                raise ChildEndedError(msg)
