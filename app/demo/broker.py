"""The broker, as an internal service sees it: an address and an API key."""

from collections.abc import Mapping

import httpx

from app.demo.exchange import Answer, exchange, open_client
from app.demo.printing import Step


class Broker:
    """Calls the broker with the API key, and shows each call."""

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        public_url: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`public_url` is where browsers find it, if elsewhere; `transport` is the way there, for all clients."""
        self.url = url
        self.public_url = public_url or url
        self.transport = transport
        self.client = open_client(url, {"authorization": f"Bearer {api_key}"}, transport)

    def call(
        self, step: Step, method: str, path: str, *, expected: int = 200, body: Mapping[str, object] | None = None
    ) -> Answer:
        """Send a request and return its answer. Raises Unexpected where the status is another than expected."""
        return exchange(step, self.client, method, path, expected=expected, body=body)

    def query(self, step: Step, connection_id: str, body: Mapping[str, object], *, expected: int = 200) -> Answer:
        """Send a GraphQL query by way of a connection."""
        return self.call(step, "POST", query_path(connection_id), expected=expected, body=body)

    def query_unseen(self, connection_id: str, body: Mapping[str, object]) -> httpx.Response:
        """Send a query as one of many, which are not shown each."""
        return self.client.post(query_path(connection_id), json=body)


def query_path(connection_id: str) -> str:
    """Return where queries of a connection go."""
    return f"/v1/connections/{connection_id}/graphql"
