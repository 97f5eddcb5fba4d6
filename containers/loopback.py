"""Resolves names below `localhost` to this machine (RFC 6761, section 6.3), as browsers do but not every resolver."""

import ssl

import httpx


class LoopbackTransport(httpx.BaseTransport):
    """Sends requests for names below `localhost` to 127.0.0.1, and verifies the certificate for the original name."""

    def __init__(self, verify: ssl.SSLContext) -> None:
        self._transport = httpx.HTTPTransport(verify=verify)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        host = request.url.host
        if host.endswith(".localhost"):
            request = httpx.Request(
                request.method,
                request.url.copy_with(host="127.0.0.1"),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": host},
            )
        return self._transport.handle_request(request)

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()
