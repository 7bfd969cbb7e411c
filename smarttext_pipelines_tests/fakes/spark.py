"""A Spark Connect server that refuses every call as one does whose token is another."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc


class _Refusing(grpc.GenericRpcHandler):
    def __init__(self, status: grpc.StatusCode, said: str) -> None:
        self._status, self._said = status, said
        self.tokens: list[str] = []

    def service(self, details: Any) -> Any:
        self.tokens += [str(value) for name, value in details.invocation_metadata if name == "authorization"]

        def refuse(_request: bytes, context: grpc.ServicerContext) -> None:
            context.abort(self._status, self._said)

        return grpc.unary_unary_rpc_method_handler(refuse)


@contextmanager
def refusing_spark(status: grpc.StatusCode, said: str = "") -> Iterator[tuple[str, list[str]]]:
    """Serve on a free port; give its URL and the tokens that it was asked with."""
    handler = _Refusing(status, said)
    server = grpc.server(ThreadPoolExecutor(2), handlers=[handler])
    port = server.add_secure_port("localhost:0", grpc.local_server_credentials())
    server.start()
    try:
        yield f"sc://localhost:{port}", handler.tokens
    finally:
        server.stop(None)
