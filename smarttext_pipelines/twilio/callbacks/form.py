"""What Twilio posts: a form, and in it the report on one message. Pure."""

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl

_MAX_FIELDS = 100
_SID = re.compile(r"(?:SM|MM)[0-9a-f]{32}")
_STATUS = re.compile(r"[a-z_]{1,40}")
_ERROR = re.compile(r"\d{0,10}")
_NUMBER = re.compile(r"[^\x00-\x1f]{1,64}")


class MalformedError(Exception):
    """The body is not a form, or not a status report."""


class Form(dict[str, list[str]]):
    """Fields by name; the validator asks for all values of one."""

    def getlist(self, name: str) -> list[str]:
        """Return the values of a field."""
        return self.get(name, [])

    def one(self, name: str) -> str:
        """Return the only value of a field; empty for none."""
        values = self.get(name, [""])
        if len(values) != 1:
            raise MalformedError
        return values[0]


@dataclass(frozen=True)
class StatusReport:
    """What Twilio says of a message."""

    sid: str
    status: str
    error_code: str
    to_number: str


def parse_form(body: bytes) -> Form:
    """Return the fields of a body; raise MalformedError for anything that is no form."""
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_MAX_FIELDS,
        )
    except ValueError:
        raise MalformedError from None
    form = Form()
    for name, value in pairs:
        form.setdefault(name, []).append(value)
    return form


def parse_report(form: Form) -> StatusReport:
    """Return the report in a form; raise MalformedError when it holds none."""
    report = StatusReport(
        sid=form.one("MessageSid"),
        status=form.one("MessageStatus").lower(),
        error_code=form.one("ErrorCode"),
        to_number=form.one("To"),
    )
    fits = (
        _SID.fullmatch(report.sid),
        _STATUS.fullmatch(report.status),
        _ERROR.fullmatch(report.error_code),
        _NUMBER.fullmatch(report.to_number),
    )
    if not all(fits):
        raise MalformedError
    return report
