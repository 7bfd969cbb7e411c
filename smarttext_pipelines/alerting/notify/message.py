"""A notice of an incident and how it reads: the whole text, a text message. Pure.

A message is kept in the outbox as it was when it was enqueued; each channel gives it its form when it is sent, and
escapes it by its own rule (``Markup``). Whatever a message is made of, its texts are clean and short.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from smarttext_pipelines.alerting.notify.markup import HTML, SMS, Markup
from smarttext_pipelines.core.display import shown, visible

SYMBOLS = {"info": "🔵", "warning": "🟠", "critical": "🔴"}
RESOLVED_SYMBOL = "✅"
SEGMENT = 160
"""Characters of one text message in the GSM alphabet; anything outside it halves that and more."""

_MAIL_STYLE = "max-width:44em;font-family:sans-serif;line-height:1.4"
_SEEN_TO_END = ("recovered", "window rolled")
_KEPT = frozenset({"runbook", "link", "command", "sender"})
"""What a cut would break: addresses, commands and the company's own number."""

_SUBJECT_LENGTH = 100
"""Of a name, and what stands before it."""


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
        sender: Number of the company that the incident concerns; the one number that a message shows.
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
    sender: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Clean every text, also of a message that an older version enqueued."""
        clean = {each.name: _clean(each.name, getattr(self, each.name)) for each in fields(self)}
        for name, value in clean.items():
            object.__setattr__(self, name, value)

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


def _clean(name: str, value: Any) -> Any:
    if isinstance(value, str):
        if name in _KEPT:
            return visible(value)
        return shown(value, _SUBJECT_LENGTH) if name == "subject" else shown(value)
    if isinstance(value, Mapping):
        return {key: shown(each) for key, each in value.items()}
    return tuple(shown(each) for each in value) if name == "lines" else value


def headline(message: Message) -> str:
    """Return the first line, before it is escaped."""
    if message.kind == "digest":
        return message.headline
    told = {"worse": "worse: ", "repeat": "still: "}.get(message.kind, "")
    subject = f"Sender {message.sender}" if message.sender else message.subject
    if message.is_over:
        return f"{message.symbol} {subject}: resolved after {message.lasted} ({message.reason})"
    return f"{message.symbol} {subject}: {told}{message.headline}"


def full_text(message: Message, markup: Markup, *, attempt: int = 1) -> str:
    """Return the whole text.

    Args:
        message: The notice.
        markup: The channel's form; every line is escaped as a whole, because two texts can mean something together.
        attempt: Shown from the second on, where a repetition cannot be excluded.
    """
    lines = [markup.escape(line) for line in (headline(message), *_body(message))]
    repeated = f"attempt {attempt}: may repeat" if attempt > 1 else ""
    page = markup.link(message.link, "dashboard") if message.link else ""
    last = [page, repeated] if message.kind == "digest" else [*_footer(message, markup), repeated]
    return "\n".join([*lines, *filter(None, [" · ".join(filter(None, last))])])


def html_text(message: Message, *, attempt: int = 1) -> str:
    """Return the whole text as a page of its own, a paragraph on each line: a mail's lines must not be long."""
    first, *rest = full_text(message, HTML, attempt=attempt).split("\n")
    paragraphs = "\n".join(f"<p>{line}</p>" for line in rest)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{first}</title></head>\n'
        f'<body style="{_MAIL_STYLE}">\n<h1 style="font-size:1.2em">{first}</h1>\n{paragraphs}\n</body>\n</html>\n'
    )


def _body(message: Message) -> list[str]:
    if message.kind == "digest":
        return list(message.lines)
    if message.is_over:
        now = f"{'Now' if message.reason.startswith(_SEEN_TO_END) else 'Last seen'}: {message.headline}"
        return [now, *([f"Worst: {message.peak}"] if message.peak else [])]
    # Notices that an older version enqueued begin with who acts.
    step = f"Next step: {message.next_step.removeprefix('(you): ')}" if message.next_step else ""
    certainty = f"Confidence: {message.certainty}" if message.certainty else ""
    return [*message.lines, *filter(None, [step, certainty])]


def _footer(message: Message, markup: Markup) -> list[str]:
    lasted = message.lasted and f"{'lasted' if message.is_over else 'open for'} {message.lasted}"
    said = [message.number, message.rule, message.severity, lasted]
    return [
        *map(markup.escape, said),
        _runbook(message, markup),
        markup.link(message.link, "incident" if "/incidents/" in message.link else "UI") if message.link else "",
        f"`{message.command}`" if message.command else "",
    ]


def _runbook(message: Message, markup: Markup) -> str:
    """Return where to read what to do: a page of one's own, or the command that prints ours."""
    if "://" in message.runbook:
        return markup.link(message.runbook, "runbook")
    is_ours = message.incident and message.runbook
    return f"`smarttext alerts runbook {message.incident}`" if is_ours else markup.escape(message.runbook)


def sms_text(message: Message, tag: str) -> str:
    """Return one segment: what happened, the incident, and the mark it is found by."""
    sign = "OK" if message.is_over else "!" * {"info": 1, "warning": 2, "critical": 3}[message.severity]
    end = f" {message.number} #{tag}"
    said = f"{sign} {SMS.escape(headline(message).removeprefix(message.symbol).strip())}"
    room = SEGMENT - len(end)
    return (said if len(said) <= room else said[: room - 3].rstrip() + "...") + end
