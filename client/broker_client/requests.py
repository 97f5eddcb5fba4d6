"""What both clients send."""

from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import quote

from broker_client.generated.models.session_request import SessionRequest
from broker_client.generated.models.session_request_metadata_type_0 import SessionRequestMetadataType0

HELD = 30
"""Seconds for which the broker holds an answer back; gateways often cut at 60."""
TIMEOUT = 75.0
"""Seconds: longer than the broker's own limits."""


def clean_key(api_key: str) -> str:
    """Return a key without the blanks and line ends that files bring along. Raises ValueError, which never shows it."""
    cleaned = api_key.strip()
    if not cleaned or any(character <= " " or character > "~" for character in cleaned):
        raise ValueError("the api_key is empty, or holds characters that no key has")
    return cleaned


def session_request(
    *,
    user_id: str,
    return_url: str | None,
    connection_id: str | None,
    scopes: Collection[str] | None,
    require_confirmation: bool,
    metadata: Mapping[str, Any] | None,
) -> SessionRequest:
    """Return what starts a login."""
    return SessionRequest(
        user_id=user_id,
        return_url=return_url,
        connection_id=connection_id,
        scopes=None if scopes is None else list(scopes),
        require_confirmation=require_confirmation,
        metadata=SessionRequestMetadataType0.from_dict(metadata or {}),
    )


def path_of_queries(connection_id: str) -> str:
    """Return where queries of a connection go."""
    return f"/v1/connections/{quote(connection_id, safe='')}/graphql"


def graphql(query: str, variables: Mapping[str, Any] | None, operation_name: str | None) -> dict[str, Any]:
    """Return the body of a GraphQL request."""
    return {"query": query, "variables": dict(variables or {}), "operationName": operation_name}
