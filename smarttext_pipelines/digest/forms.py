"""The forms of a digest: text, Slack, HTML, JSON. Pure; each escapes what comes from data by its own rule."""

import html
import json
from collections.abc import Callable, Mapping
from enum import StrEnum

from smarttext_pipelines.alerting.notify.markup import SLACK
from smarttext_pipelines.digest.text import Digest, Line

_STYLE = "max-width:44em;font-family:sans-serif;line-height:1.4"
_SIGNS = {
    "bad": "🔴",
    "bad so far": "🔴",
    "look": "🟠",
    "quiet": "🟠",
    "quiet so far": "🟠",
    "unknown": "⚪",
    "well": "🟢",
    "well so far": "🟢",
}


class Form(StrEnum):
    """How a digest is written."""

    text = "text"
    slack = "slack"
    html = "html"
    json = "json"


def in_form(digest: Digest, form: Form) -> str:
    """Return a digest in a form."""
    return _FORMS[form](digest)


def _as_text(digest: Digest) -> str:
    return "\n".join([digest.headline, *map(str, digest.lines)])


def _as_slack(digest: Digest) -> str:
    head = f"{_SIGNS.get(digest.state, '🔵')} *{SLACK.escape(digest.headline)}*"
    return "\n".join([head, *(f"• {_told(line, SLACK.escape)}" for line in digest.lines)])


def _told(line: Line, escape: Callable[[str], str]) -> str:
    return f"{escape(line.text)} `{line.command}`" if line.command else escape(line.text)


def _as_html(digest: Digest) -> str:
    # One item a line, so that no line of a mail is longer than it may be.
    items = [
        f"<li>{html.escape(line.text)}" + (f"<br>\n<code>{html.escape(line.command)}</code>" if line.command else "")
        for line in digest.lines
    ]
    title = html.escape(digest.headline)
    body = "</li>\n".join(items)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title></head>\n'
        f'<body style="{_STYLE}">\n<h1 style="font-size:1.2em">{title}</h1>\n<ul>\n{body}</li>\n</ul>\n</body>\n</html>'
    )


def _as_json(digest: Digest) -> str:
    lines = [
        {"text": line.text, "command": line.command or None, "urgency": line.urgency.name, "is_new": line.is_new}
        for line in digest.lines
    ]
    found = {"state": digest.state, "headline": digest.headline, "lines": lines}
    return json.dumps(found, indent=2, ensure_ascii=False)


_FORMS: Mapping[Form, Callable[[Digest], str]] = {
    Form.text: _as_text,
    Form.slack: _as_slack,
    Form.html: _as_html,
    Form.json: _as_json,
}
