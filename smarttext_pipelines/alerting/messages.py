"""What is told of an incident, and how it reads: Slack's text, a text message. Pure.

A message is kept in the outbox as it was when it was enqueued; each channel gives it its form when it is sent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

SYMBOLS = {"info": "🔵", "warning": "🟠", "critical": "🔴"}
RESOLVED_SYMBOL = "✅"
SEGMENT = 160
"""Characters of one text message in the GSM alphabet; anything outside it halves that and more."""

_SEEN_TO_END = ("recovered", "window rolled")
_GSM_REPLACEMENTS = {
    "•": "*",
    "–": "-",
    "—": "-",
    "·": "|",
    "×": "x",
    "≥": ">=",
    "…": "...",
    "“": '"',
    "”": '"',
    "’": "'",
}


@dataclass(frozen=True)
class Message:
    """One notice.

    Attributes:
        kind: firing, worse, repeat, resolved, baseline, digest or test.
        incident: Number of the incident; 0 for none.
        rule: Rule.
        severity: info, warning or critical.
        subject: Whom or what it concerns, by name.
        headline: What happened, after the name: k of n, since when, what is usual.
        lines: Customers affected, causes; whole sentences.
        next_step: One thing to do, and who does it.
        certainty: How much of it is known, and what it was compared with.
        lasted: How long it has been going on.
        peak: Worst value, for the end.
        reason: Why it ended.
        runbook: Path of the runbook page.
        link: Where to look in the UI.
        command: Command that shows the rows.
    """

    kind: str
    incident: int
    rule: str
    severity: str
    subject: str
    headline: str
    lines: Sequence[str] = ()
    next_step: str = ""
    certainty: str = ""
    lasted: str = ""
    peak: str = ""
    reason: str = ""
    runbook: str = ""
    link: str = ""
    command: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether this tells the end."""
        return self.kind == "resolved"

    @property
    def number(self) -> str:
        """The incident as people write it."""
        return f"INC-{self.incident}"

    @property
    def symbol(self) -> str:
        """One sign that says how bad it is, or that it is over."""
        return RESOLVED_SYMBOL if self.is_over else SYMBOLS[self.severity]

    def as_json(self) -> dict[str, Any]:
        """Return what the outbox keeps."""
        return asdict(self) | {"lines": list(self.lines)}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Message":
        """Return the message that the outbox kept, also one that an older version enqueued."""
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in kept.items() if name in known})


def headline(message: Message) -> str:
    """Return the first line."""
    if message.kind == "digest":
        return message.headline
    told = {"worse": "worse: ", "repeat": "still: "}.get(message.kind, "")
    if message.is_over:
        return f"{message.symbol} {message.subject}: over after {message.lasted} ({message.reason})"
    return f"{message.symbol} {message.subject}: {told}{message.headline}"


def slack_text(message: Message, *, attempt: int = 1) -> str:
    """Return the whole text, as Slack and the log show it.

    Args:
        message: What is told.
        attempt: Shown from the second on, where a repetition cannot be excluded.
    """
    body = [headline(message)]
    if message.kind == "digest":
        return "\n".join([*body, *message.lines, *([f"attempt {attempt}: may repeat"] if attempt > 1 else [])])
    if message.is_over:
        body += [f"{'Now' if message.reason in _SEEN_TO_END else 'Last seen'}: {message.headline}"]
        body += [f"Worst: {message.peak}"] if message.peak else []
    else:
        body += list(message.lines)
        body += [f"Next step {message.next_step}"] if message.next_step else []
        body += [f"Certain? {message.certainty}"] if message.certainty else []
    return "\n".join([*body, _footer(message, attempt)])


def _footer(message: Message, attempt: int) -> str:
    runbook = f"<{message.runbook}|runbook>" if "://" in message.runbook else message.runbook
    parts = [message.number, message.rule, message.severity, message.lasted, runbook]
    parts += [f"<{message.link}|UI>" if message.link else "", f"`{message.command}`" if message.command else ""]
    parts += [f"attempt {attempt}: may repeat" if attempt > 1 else ""]
    return " · ".join(part for part in parts if part)


def sms_text(message: Message, tag: str) -> str:
    """Return one segment where it fits: what happened, the incident, and the mark it is found by.

    Signs outside the GSM alphabet are replaced, because one of them would make three segments of this.
    """
    sign = "OK" if message.is_over else "!" * {"info": 1, "warning": 2, "critical": 3}[message.severity]
    end = f" {message.number} #{tag}"
    said = _gsm(headline(message).removeprefix(message.symbol).strip())
    said = f"{sign} {said}"
    room = SEGMENT - len(end)
    return (said if len(said) <= room else said[: room - 3].rstrip() + "...") + end


def _gsm(text: str) -> str:
    for sign, replacement in _GSM_REPLACEMENTS.items():
        text = text.replace(sign, replacement)
    return text.encode("ascii", "replace").decode()
