"""Errors in GraphQL's shape, for clients that speak nothing else."""

import json

from app.api.content_negotiation import qualities
from app.api.problems import broker_error_headers
from app.errors import BrokerError

MODERN = "application/graphql-response+json"
LEGACY = "application/json"


def media_type_for(accept: bytes) -> str:
    """Choose as GraphQL over HTTP asks: the newer type for those who name it."""
    wanted = qualities(accept)
    return MODERN if wanted.get(MODERN, 0) > 0 and wanted[MODERN] >= wanted.get(LEGACY, 0) else LEGACY


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
