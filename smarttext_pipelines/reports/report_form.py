"""The names of the forms of a report, apart from what writes them, which the command line need not load."""

from enum import StrEnum


class ReportForm(StrEnum):
    """How a report is written."""

    html = "html"
    text = "text"
    json = "json"
