"""Enough of SMTP (RFC 5321) to take a mail."""

import email
import email.policy
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Mailbox(socketserver.StreamRequestHandler):
    """What the server does with a connection; the class of each server keeps its mails."""

    mails: list[str]
    refuse: bool = False

    def handle(self) -> None:
        self._say("220 here")
        while line := self.rfile.readline().decode().strip():
            word = line.split(" ")[0].upper()
            if word == "DATA":
                self._say("354 go on")
                self._take()
            elif word == "QUIT":
                self._say("221 bye")
                return
            else:
                self._say("550 no" if word == "RCPT" and self.refuse else "250 ok")

    @staticmethod
    def subject(mail: str) -> str:
        return str(email.message_from_string(mail, policy=email.policy.default)["Subject"])

    @staticmethod
    def body(mail: str, kind: str = "plain") -> str:
        part = email.message_from_string(mail, policy=email.policy.default).get_body((kind,))  # type: ignore[attr-defined]
        return str(part.get_content())

    def _take(self) -> None:
        body = []
        while (line := self.rfile.readline().decode().rstrip("\r\n")) != ".":
            body.append(line)
        type(self).mails.append("\n".join(body))
        self._say("250 taken")

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@contextmanager
def mailbox() -> Iterator[tuple[str, type[Mailbox]]]:
    """Serve on a free port of 127.0.0.1; yield the URL, and the class that keeps the mails."""

    class Own(Mailbox):
        mails: list[str] = []  # noqa: RUF012 - of this server

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Own) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"smtp://127.0.0.1:{server.server_address[1]}", Own
        finally:
            server.shutdown()
            thread.join()
