"""Requests that the synchronous and the asyncio client share."""

from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import quote

from broker_client.generated.models.session_request import SessionRequest
from broker_client.generated.models.session_request_metadata_type_0 import SessionRequestMetadataType0

DEFAULT_TIMEOUT_SECONDS = 75.0
"""Longer than the broker's own timeouts."""
_MAX_WAIT_SECONDS = 30
"""For how long one request waits for the end of a session. Many gateways time out after 60 seconds."""


def clean_api_key(api_key: str) -> str:
    """Return a key without surrounding whitespace, which keys read from files often have.

    Raises ValueError if it is not a valid key; the message does not contain it.
    """
    cleaned = api_key.strip()
    if not cleaned or any(character <= " " or character > "~" for character in cleaned):
        raise ValueError("the api_key is empty or contains invalid characters")
    return cleaned


def create_session_request(
    *,
    user_id: str,
    return_url: str | None,
    connection_id: str | None,
    scopes: Collection[str] | None,
    require_confirmation: bool,
    metadata: Mapping[str, Any] | None,
) -> SessionRequest:
    """Return the body of the request that starts a session."""
    return SessionRequest(
        user_id=user_id,
        return_url=return_url,
        connection_id=connection_id,
        scopes=None if scopes is None else list(scopes),
        require_confirmation=require_confirmation,
        metadata=SessionRequestMetadataType0.from_dict(metadata or {}),
    )


def wait_seconds(remaining: float) -> int:
    """Return for how long the next request should wait for the end of a session."""
    return max(0, min(_MAX_WAIT_SECONDS, int(remaining)))


def graphql_path(connection_id: str) -> str:
    """Return the path of a connection's GraphQL endpoint."""
    return f"/v1/connections/{quote(connection_id, safe='')}/graphql"


def graphql_body(query: str, variables: Mapping[str, Any] | None, operation_name: str | None) -> dict[str, Any]:
    """Return the body of a GraphQL request."""
    return {"query": query, "variables": dict(variables or {}), "operationName": operation_name}
