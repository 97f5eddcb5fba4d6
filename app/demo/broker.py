"""The broker as an internal service sees it: a URL and an API key."""

from collections.abc import Mapping

import httpx

from app.demo.exchange import JsonResponse, exchange, open_client
from app.demo.printing import Step


class Broker:
    """Sends requests to the broker, and shows them."""

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        public_url: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`public_url` is the URL for browsers, if it is another one. `transport` is used by all clients."""
        self.url = url
        self.public_url = public_url or url
        self.transport = transport
        self.client = open_client(url, {"authorization": f"Bearer {api_key}"}, transport)

    def call(
        self, step: Step, method: str, path: str, *, expected: int = 200, body: Mapping[str, object] | None = None
    ) -> JsonResponse:
        """Send a request and return its response. Raises Unexpected if the status is not `expected`."""
        return exchange(step, self.client, method, path, expected=expected, body=body)

    def query(self, step: Step, connection_id: str, body: Mapping[str, object], *, expected: int = 200) -> JsonResponse:
        """Send a GraphQL query through a connection."""
        return self.call(step, "POST", query_path(connection_id), expected=expected, body=body)

    def query_without_showing(self, connection_id: str, body: Mapping[str, object]) -> httpx.Response:
        """Send one of many queries, which are not shown."""
        return self.client.post(query_path(connection_id), json=body)


def query_path(connection_id: str) -> str:
    """Return the path for queries of a connection."""
    return f"/v1/connections/{connection_id}/graphql"
