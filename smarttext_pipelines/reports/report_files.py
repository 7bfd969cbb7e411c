"""Reports as files: each is written beside its place and then put there, and only where it differs."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

from sqlalchemy import Connection

from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.reports.missed_hours import Hours
from smarttext_pipelines.reports.month_facts import Month, active_businesses, read_month_facts
from smarttext_pipelines.reports.month_forms import in_report_form
from smarttext_pipelines.reports.month_view import report_of
from smarttext_pipelines.reports.report_form import ReportForm

FORMS = (ReportForm.html, ReportForm.json)


@dataclass(frozen=True)
class Written:
    """What became of the reports of a month.

    Attributes:
        folder: Where they are.
        businesses: Businesses with a report.
        written: Files that were new or differed.
        unchanged: Files that were as they are already.
        with_gaps: Reports that say of something that it is not known.
    """

    folder: Path
    businesses: int = 0
    written: int = 0
    unchanged: int = 0
    with_gaps: int = 0


def write_month(connection: Connection, month: Month, hours: Mapping[UUID, Hours], folder: Path) -> Written:
    """Write HTML and JSON of each business that had any event in a month.

    Args:
        connection: A connection to the event database.
        month: The month.
        hours: Result of ``all_missed_hours``.
        folder: Where reports are; the month gets a folder there.

    Raises:
        InputError: A file cannot be written.
    """
    place = folder / f"{month.first:%Y-%m}"
    differed, gaps = [], 0
    for business in active_businesses(connection, month.days):
        report = report_of(read_month_facts(connection, business, month, hours.get(business, {})))
        # Named by the id: a name is text that somebody else has chosen.
        differed += [write_file(place / f"{business}.{form}", in_report_form(report, form)) for form in FORMS]
        gaps += bool(report.unknown)
    return Written(place, len(differed) // len(FORMS), sum(differed), len(differed) - sum(differed), gaps)


def write_file(path: Path, text: str) -> bool:
    """Write a file that only its owner can read, whole or not at all; return whether it differed.

    Raises:
        InputError: It cannot be written.
    """
    content = text.encode()
    beside = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.is_file() and path.read_bytes() == content:
            return False
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror}"
        raise InputError(msg) from None
    return True
