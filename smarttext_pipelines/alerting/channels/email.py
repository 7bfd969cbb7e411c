"""Channel ``email``: text and HTML over SMTP. A server cannot be asked what it has; a repetition has the same id."""

import smtplib
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from urllib.parse import unquote, urlsplit

from smarttext_pipelines.alerting.channels.channel import (
    Channel,
    ChannelKind,
    Delivery,
    Later,
    Outcome,
    Rejected,
    Sent,
    Unclear,
    Way,
    require,
    revealed,
)
from smarttext_pipelines.alerting.channels.http import TIMEOUT_SECONDS
from smarttext_pipelines.alerting.channels.recipients import reference
from smarttext_pipelines.alerting.notify.markup import PLAIN
from smarttext_pipelines.alerting.notify.message import full_text, headline, html_text
from smarttext_pipelines.settings import Settings

_RETRY_SECONDS = 60.0
_PERMANENT = 500
_PORTS = {"smtp": 587, "smtps": 465}


class EmailChannel:
    """Sends over the server of a URL ``smtp://USER:PASSWORD@HOST:PORT``; ``smtps`` is encrypted from the beginning."""

    name = "email"
    markup = PLAIN

    def __init__(self, url: str, sender: str, addresses: Mapping[str, str]) -> None:
        """Take the server, the sender's address, and the addresses by their references."""
        self._parts, self._sender, self._addresses = urlsplit(url), sender, addresses

    @property
    def recipients(self) -> tuple[str, ...]:
        """References to the addresses."""
        return tuple(self._addresses)

    def send(self, delivery: Delivery) -> Outcome:
        """Hand it to the server."""
        mail = EmailMessage()
        mail["Subject"] = self.markup.escape(headline(delivery.message))
        mail["From"], mail["To"] = self._sender, self._addresses[delivery.recipient]
        mail["Message-ID"] = f"<{delivery.tag}@{self._sender.partition('@')[2] or 'smarttext'}>"
        mail["Date"] = format_datetime(datetime.now(UTC))
        mail.set_content(full_text(delivery.message, self.markup, attempt=delivery.attempt))
        mail.add_alternative(html_text(delivery.message, attempt=delivery.attempt), subtype="html")
        try:
            with self._connect() as server:
                return _hand_over(server, mail)
        except smtplib.SMTPAuthenticationError as error:
            return Rejected(f"login refused: {error.smtp_code}")
        except (smtplib.SMTPException, OSError) as error:
            return Later(_RETRY_SECONDS, type(error).__name__)

    def find(self, delivery: Delivery) -> Sent | None:
        """Nobody can be asked; a mail that comes twice has one Message-ID and says that it may repeat."""
        return None

    def _connect(self) -> smtplib.SMTP:
        host, port = str(self._parts.hostname), self._parts.port or _PORTS[self._parts.scheme]
        context = ssl.create_default_context()
        if self._parts.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_SECONDS, context=context)
        else:
            server = smtplib.SMTP(host, port, timeout=TIMEOUT_SECONDS)
            server.ehlo()
            if server.has_extn("starttls"):
                server.starttls(context=context)
        if self._parts.username:
            server.login(unquote(self._parts.username), unquote(self._parts.password or ""))
        return server


def _hand_over(server: smtplib.SMTP, mail: EmailMessage) -> Outcome:
    try:
        server.send_message(mail)
    except (smtplib.SMTPRecipientsRefused, smtplib.SMTPSenderRefused):
        return Rejected("an address was refused")
    except smtplib.SMTPResponseException as error:
        permanent = error.smtp_code >= _PERMANENT
        return Rejected(str(error.smtp_code)) if permanent else Later(_RETRY_SECONDS, str(error.smtp_code))
    except (smtplib.SMTPException, OSError) as error:
        # The server may have taken it before the connection broke.
        return Unclear(type(error).__name__)
    return Sent()


def _build(settings: Settings) -> list[Channel]:
    if settings.smtp_url is None:
        return []
    require(settings, "smtp_url", "digest_emails", "smtp_from")
    addresses = [address.get_secret_value() for address in settings.digest_emails]
    by_reference = {reference(address, "mail"): address for address in addresses}
    return [EmailChannel(revealed(settings.smtp_url), str(settings.smtp_from), by_reference)]


KIND = ChannelKind(
    name="email",
    ways=(
        Way(
            "`SMARTTEXT_SMTP_URL`, `SMARTTEXT_SMTP_FROM` and `SMARTTEXT_DIGEST_EMAILS`",
            "yes, with the same Message-ID, and says so",
        ),
    ),
    build=_build,
    carries_digest=True,
)
