"""Secrets and numbers to plant, in fourteen forms, made when a test runs so that none stands in a file."""

import random
import string
from collections.abc import Callable
from dataclasses import dataclass

HEX = "0123456789abcdef"
LETTERS = string.ascii_letters + string.digits
_WORDS = ("please", "call", "about", "the", "leaking", "tap", "in", "our", "kitchen", "tomorrow", "morning")


def _of(chance: random.Random, alphabet: str, length: int) -> str:
    return "".join(chance.choice(alphabet) for _ in range(length))


def _digits(chance: random.Random, length: int) -> str:
    return _of(chance, string.digits, length)


def _area(chance: random.Random) -> str:
    return chance.choice("23456789") + _digits(chance, 2)


def _e164(chance: random.Random) -> str:
    return "+" + chance.choice(["1", "44", "49", "33", "61"]) + _area(chance) + _digits(chance, 7)


def _national(chance: random.Random) -> str:
    area, exchange, line = _area(chance), _digits(chance, 3), _digits(chance, 4)
    forms = "({}) {}-{}", "{}-{}-{}", "{}.{}.{}", "{}{}{}", "1{}{}{}", "1-{}-{}-{}", "+1 {} {} {}", "+1 ({}) {}-{}"
    return chance.choice(forms).format(area, exchange, line)


def _jwt(chance: random.Random) -> str:
    return ".".join(["eyJ" + _of(chance, LETTERS, 20), "eyJ" + _of(chance, LETTERS, 40), _of(chance, LETTERS, 43)])


def _message(chance: random.Random) -> str:
    return " ".join(chance.choice(_WORDS) for _ in range(6)) + f" {_of(chance, string.ascii_lowercase, 8)}"


FORMS: dict[str, Callable[[random.Random], str]] = {
    "e164": _e164,
    "national": _national,
    "twilio_sid": lambda c: c.choice(["AC", "SM", "MM", "CA", "SK"]) + _of(c, HEX, 32),
    "twilio_token": lambda c: _of(c, HEX, 32),
    "slack_bot_token": lambda c: "-".join(
        ["xox" + c.choice("bpa"), _digits(c, 12), _digits(c, 12), _of(c, LETTERS, 24)]
    ),
    "slack_app_token": lambda c: "-".join(["xapp", "1", "A" + _of(c, LETTERS, 10), _digits(c, 13), _of(c, HEX, 64)]),
    "slack_webhook": lambda c: (
        "https://hooks.slack" + f".com/services/T{_of(c, LETTERS, 8)}/B{_of(c, LETTERS, 8)}/{_of(c, LETTERS, 24)}"
    ),
    "database_url": lambda c: f"postgresql://app:{_of(c, LETTERS + '!$%/', 14)}@db.example.com:5432/app",
    "openai_key": lambda c: "sk-" + c.choice(["proj-", ""]) + _of(c, LETTERS, 40),
    "jwt": _jwt,
    "sentry_dsn": lambda c: f"https://{_of(c, HEX, 32)}@o{_digits(c, 6)}.ingest.example.io/{_digits(c, 7)}",
    "email": lambda c: f"{_of(c, string.ascii_lowercase, 9)}.{_digits(c, 2)}@{_of(c, string.ascii_lowercase, 7)}.com",
    "message_text": _message,
    "keyword_password": lambda c: _of(c, LETTERS, 16),
}
"""How each form is made."""


@dataclass(frozen=True)
class Planted:
    """One secret.

    Attributes:
        form: Its form.
        secret: What must not be found: the part that gives it away.
        shown: How it stands in a text where it leaks; a message text has no form of its own.
    """

    form: str
    secret: str
    shown: str


def plant(count: int = 1000, seed: int = 7) -> list[Planted]:
    """Return as many secrets, the forms in turn."""
    chance = random.Random(seed)
    names = list(FORMS)
    return [_planted(names[n % len(names)], chance) for n in range(count)]


def _planted(form: str, chance: random.Random) -> Planted:
    made = FORMS[form](chance)
    if form == "message_text":
        shown = chance.choice(
            [f'{{"body": "{made}"}}', f"body='{made}'", f'{{"message_content": "{made}"}}',
             f"null value\nDETAIL:  Failing row contains (1, {made}, null).", f"Body={made.replace(' ', '+')}"]
        )  # fmt: skip
        return Planted(form, made.rsplit(" ", 1)[1], shown)
    if form == "keyword_password":
        return Planted(form, made, chance.choice([f"host=db password={made} dbname=x", f"{{'password': '{made}'}}"]))
    if form == "database_url":
        return Planted(form, made.split("app:", 1)[1].rsplit("@", 1)[0], made)
    if form == "sentry_dsn":
        return Planted(form, made.split("//", 1)[1].split("@", 1)[0], made)
    return Planted(form, made, made)


def found_in(text: str, planted: list[Planted]) -> list[str]:
    """Return the forms of the secrets that stand in a text."""
    return [each.form for each in planted if each.secret in text]
