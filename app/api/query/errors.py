"""Renders errors in GraphQL's format."""

import json

from app.api.content_negotiation import qualities
from app.api.problems import broker_error_headers
from app.errors import BrokerError

GRAPHQL_RESPONSE_JSON = "application/graphql-response+json"
JSON = "application/json"


def media_type_for(accept: bytes) -> str:
    """Choose the media type as GraphQL over HTTP says: the newer one for clients that accept it."""
    accepted = qualities(accept)
    return (
        GRAPHQL_RESPONSE_JSON
        if accepted.get(GRAPHQL_RESPONSE_JSON, 0) > 0 and accepted[GRAPHQL_RESPONSE_JSON] >= accepted.get(JSON, 0)
        else JSON
    )


def render_graphql_error(error: BrokerError, accept: bytes, request_id: str) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body."""
    extensions: dict[str, object] = {
        "code": error.graphql_code,
        "reason": error.code,
        "request_id": request_id,
    }
    headers = {
        "content-type": f"{media_type_for(accept)}; charset=utf-8",
        "cache-control": "no-store",
        **broker_error_headers(error),
    }
    if "retry-after" in headers:
        extensions["retry_after"] = int(headers["retry-after"])
    body = {"errors": [{"message": error.detail, "extensions": extensions}]}
    return error.status, headers, json.dumps(body).encode()
