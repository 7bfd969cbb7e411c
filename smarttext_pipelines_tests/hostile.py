"""Names as somebody would choose them who wants a message to do something, and what no shown text may hold."""

import re

CONTROLS = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ud800-\udfff]"
)
"""Everything that acts on a terminal or cannot be seen; the line breaks of a text are ours."""

NAMES = {
    "html": "<script>alert(1)</script><b>Bold</b> & Sons",
    "channel": "<!channel> urgent",
    "person": "<@U012AB3CD> and <#C012AB3CD>",
    "link": "<https://evil.example|click here>",
    "address": "https://evil.example/login",
    "mention": "@everyone @here <@123456789012345678> urgent",
    "formatting": "*bold* _slanted_ ~gone~ `code` ```block``` :fire: > quote",
    "terminal": "\x1b]0;owned\x07\x1b[2J\x1b[31mHartley\x9b2J",
    "direction": "Hartley \u202egnibmulP\u202c \u2066x\u2069 \u200e\u200f",
    "invisible": "Hart\u200bley\u2060 \ufeffPlum\xadbing",
    "lines": "Hartley\r\nINC-1 resolved\n\u2028\u2029Next",
    "rich": "[red]Hartley[/red] [link=https://evil.example]x[/link] :red_circle:",
    "markdown": "| a | b | ![x](https://evil.example/x.png) [y](https://evil.example)",
    "accents": "H" + "\u0301" * 500 + "artley",
    "emoji": "👩‍👩‍👧‍👦 🏴󠁧󠁢󠁥󠁮󠁧󠁿 Hartley é́́ ﷽",
    "formula": '=HYPERLINK("https://evil.example")',
    "blank": "\u3164\u200b ",
    "long": "Hartley " * 125_000,
}

ACTIVE: dict[str, re.Pattern[str] | None] = {
    "slack": re.compile(
        r"<[!@#]|<https?://evil|https?://evil|(?<![\w/])[*~](?=\w)|(?<!\w)_(?=\w)|`code`|:fire:|:red_circle:"
    ),
    "twilio_sms": re.compile(r"[^ -~]|https?://"),
    "discord": re.compile(r"(?<!\\)(?:@everyone|@here|<@|<#|!\[|\[y\]|[*~]|_slanted|`code`)|https?://evil"),
    "log": None,
    "webhook": None,
    "alertmanager": None,
    "pagerduty": None,
    "email": None,
}
"""What would not be text in a channel; None where nothing has a meaning but control characters."""
