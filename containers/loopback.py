"""Names below `localhost`, which are this machine (RFC 6761 section 6.3): browsers know it, resolvers may not."""

import ssl

import httpx


class LoopbackTransport(httpx.BaseTransport):
    """Takes requests for names below `localhost` to 127.0.0.1, and checks the certificate for the name all the same."""

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
