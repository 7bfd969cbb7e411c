"""A TCP proxy before a server: it can refuse, cut, and delay what goes through, and change the server behind it."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Proxy:
    """Listens on a port of its own; ``delay_s`` holds back each piece that a client sends."""

    def __init__(self, target: int) -> None:
        self.target, self.is_up, self.delay_s = target, True, 0.0
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End every connection and refuse new ones."""
        self.is_up = False
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._open.clear()

    def restore(self) -> None:
        """Let connections through again."""
        self.is_up = True

    def close(self) -> None:
        """Stop listening."""
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                if not self.is_up:
                    client.close()
                    continue
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                if self._listener.fileno() < 0:
                    return
                client.close()
                continue
            self._open += [client, server]
            for source, sink, waits in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pump, args=(source, sink, waits), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, waits: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if waits and self.delay_s:
                    time.sleep(self.delay_s)
                sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@contextmanager
def proxied(target: int) -> Iterator[Proxy]:
    """Give a proxy before a port."""
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
