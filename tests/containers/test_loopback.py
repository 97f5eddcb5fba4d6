"""Names below `localhost` resolve to this machine, and their certificates are still verified."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from app.demo.exchange import open_client
from containers.loopback import LoopbackTransport
from tests.http_client.certificates import Certificate, make_certificate


class _EchoHandler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.headers["host"].encode() + b" got " + body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        pass


@contextmanager
def serving(certificate: Certificate) -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), _EchoHandler) as server:
        server.socket = certificate.server_context().wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path, "broker.localhost")


def test_a_name_below_localhost_resolves_to_this_machine(certificate: Certificate) -> None:
    transport = LoopbackTransport(certificate.client_context())
    with serving(certificate) as port, open_client(transport=transport) as client:
        response = client.post(f"https://broker.localhost:{port}/x", content=b"this")
        assert response.text == f"broker.localhost:{port} got this"
        assert response.url == f"https://broker.localhost:{port}/x"


def test_a_certificate_for_another_name_is_rejected(certificate: Certificate) -> None:
    transport = LoopbackTransport(certificate.client_context())
    with (
        serving(certificate) as port,
        open_client(transport=transport) as client,
        pytest.raises(httpx.ConnectError, match="certificate"),
    ):
        client.post(f"https://api.broker.localhost:{port}/x", content=b"this")
