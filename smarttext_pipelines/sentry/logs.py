"""Redacts numbers, texts and keys in the log records of this process, for every logger and handler.

A filter sees only what passes its own logger or handler; the factory makes every record of the process.
"""

import io
import logging
import traceback
from collections.abc import Iterable
from typing import Any

from smarttext_pipelines.core.redact import scrub

_MARK = "_smarttext_scrubs"


def scrub_logs(secrets: Iterable[str] = ()) -> None:
    """Redact every log record that this process makes from now on; a second call only changes the secrets.

    Args:
        secrets: Values that are secret here, in any form.
    """
    found = logging.getLogRecordFactory()
    below = getattr(found, _MARK, found)
    known = tuple(secrets)

    def make(*args: Any, **options: Any) -> logging.LogRecord:
        record: logging.LogRecord = below(*args, **options)
        _scrub_record(record, known)
        return record

    setattr(make, _MARK, below)
    logging.setLogRecordFactory(make)


def _scrub_record(record: logging.LogRecord, secrets: Iterable[str]) -> None:
    try:
        said = record.getMessage()
    except (TypeError, ValueError):  # a wrong number of arguments; logging would print them all
        said = str(record.msg)
    record.msg, record.args = scrub(said, secrets), ()
    if record.exc_info and record.exc_info[0]:
        lines = io.StringIO()
        traceback.print_exception(*record.exc_info, file=lines)
        # A formatter takes this text instead of the exception.
        record.exc_text = scrub(lines.getvalue().rstrip("\n"), secrets)
    if record.stack_info:
        record.stack_info = scrub(record.stack_info, secrets)
