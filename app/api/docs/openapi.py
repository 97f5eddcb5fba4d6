"""Builds the OpenAPI document: that of the framework, and the query path, which the framework does not know."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app import __version__, errors
from app.api.error_examples import REQUEST_ID, code_and_detail
from app.api.query.endpoint import ROUTE
from app.api.schemas.common import Problem
from app.callers.permissions import Permission
from app.errors import MethodNotAllowed

_DESCRIPTION = """
Links users' bank accounts at Stitch and queries them, so that no internal service ever holds a token.

1. **Link an account**: `POST /v1/sessions`, send the user to `connect_url`, wait with `GET /v1/sessions/{id}?wait=30`.
2. **Use the connection**: `POST /v1/connections/{id}/graphql` with the query that the bank takes. Tokens are kept,
   added and refreshed by the broker.
3. **End it**: `DELETE /v1/connections/{id}`.

Authenticate with `Authorization: Bearer <API key>`; an operator makes one with `broker callers create`.
Errors are problem documents (RFC 9457) whose `code` is stable; on the query path they have GraphQL's shape.
"""
_QUERY = {
    "query": "query ListBankAccounts { user { __typename ... on User { id bankAccounts { name } } } }",
    "variables": None,
    "operationName": "ListBankAccounts",
}
# Only a pending session has links.
_PENDING_SESSION = {
    "id": "ses_6a1e0c9b7d2f4a83915c0e7b",
    "status": "pending",
    "user_id": "user-42",
    "scopes": ["openid", "accounts", "balances", "transactions", "offline_access"],
    "authorization_url": "https://secure.stitch.money/connect/authorize?client_id=…&state=…",
    "connect_url": "https://broker.example.com/connect/Zk3…",
    "return_url": None,
    "connection_id": None,
    "error": None,
    "metadata": {"order": "1001"},
    "created_at": "2026-03-01T09:30:00Z",
    "expires_at": "2026-03-01T09:45:00Z",
    "ended_at": None,
}
_ANSWER = {"data": {"user": {"__typename": "User", "id": "user/abc", "bankAccounts": [{"name": "Cheque"}]}}}
_ERRORS: tuple[type[errors.BrokerError], ...] = (
    errors.InvalidRequest,
    errors.UnauthorizedCaller,
    errors.PermissionDenied,
    errors.ConnectionNotFound,
    MethodNotAllowed,
    errors.ReauthorizationRequired,
    errors.ConnectionNotReady,
    errors.ConnectionRevoked,
    errors.RequestTooLarge,
    errors.RateLimited,
    errors.BankError,
    errors.DatabaseUnavailable,
    errors.BankClientMismatch,
    errors.BankTimeout,
)


def install_openapi(app: FastAPI, path_prefix: str = "") -> None:
    """Make `app` return the document, built once. `path_prefix` is the path below which the API is served."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title="Stitch token broker",
                version=__version__,
                description=_DESCRIPTION,
                routes=app.routes,
                servers=[{"url": path_prefix}] if path_prefix else None,
            )
            _remove_framework_errors(schema)
            schema["paths"][ROUTE] = {"post": _query_operation()}
            started = schema["paths"]["/v1/sessions"]["post"]["responses"]["201"]
            # Added here, because the framework removes nulls from examples.
            started["content"]["application/json"]["example"] = _PENDING_SESSION
            schema["components"]["schemas"] |= {
                "Problem": Problem.model_json_schema(),
                "GraphQLRequest": _request_schema(),
                "GraphQLError": _error_schema(),
            }
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]


def _remove_framework_errors(schema: dict[str, Any]) -> None:
    """Remove the validation errors that the framework documents but the broker never sends."""
    for operations in schema["paths"].values():
        for operation in operations.values():
            described = operation["responses"].get("422", {}).get("content", {})
            if "application/json" in described:
                del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        schema["components"]["schemas"].pop(name, None)


def _query_operation() -> dict[str, Any]:
    return {
        "tags": ["Use a connection"],
        "summary": "Query the bank",
        "operationId": "query_the_bank",
        "description": "Send a GraphQL request to the bank with the connection's token. Mutations also need the "
        "permission `graphql:mutate`. An expired token is refreshed and the request repeated, once.",
        "security": [{"API key": [Permission.GRAPHQL_QUERY.value]}],
        "parameters": [
            {"name": "connection_id", "in": "path", "required": True, "schema": {"type": "string"}},
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/GraphQLRequest"},
                    "example": _QUERY,
                }
            },
        },
        "responses": _query_responses() | {"default": {"description": "Any other response of the bank, unchanged."}},
    }


def _query_responses() -> dict[str, Any]:
    responses: dict[str, Any] = {
        "200": {
            "description": "The bank's response, unchanged. Its `errors` are the bank's own.",
            "headers": {
                "Broker-Token-Version": {
                    "description": "The version of the token that was used.",
                    "schema": {"type": "integer"},
                },
                "Server-Timing": {
                    "description": "Milliseconds spent in the broker and at the bank.",
                    "schema": {"type": "string"},
                },
            },
            "content": {"application/json": {"schema": {}, "example": _ANSWER}},
        }
    }
    for kind in _ERRORS:
        media: dict[str, Any] = {"schema": {"$ref": "#/components/schemas/GraphQLError"}, "examples": {}}
        described = responses.setdefault(
            str(kind.status), {"description": kind.title, "content": {"application/json": media}}
        )
        code, detail = code_and_detail(kind)
        extensions = {"code": kind.graphql_code, "reason": code, "request_id": REQUEST_ID}
        described["content"]["application/json"]["examples"][code] = {
            "summary": detail,
            "value": {"errors": [{"message": detail, "extensions": extensions}]},
        }
    return responses


def _request_schema() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["query"],
        "properties": {
            "query": {"type": "string", "minLength": 1},
            "variables": {"type": ["object", "null"]},
            "operationName": {"type": ["string", "null"]},
        },
    }


def _error_schema() -> dict[str, Any]:
    extensions = {
        "type": "object",
        "required": ["code", "reason", "request_id"],
        "properties": {
            "code": {"type": "string", "enum": sorted({kind.graphql_code for kind in _ERRORS})},
            "reason": {"type": "string", "description": "A more specific code."},
            "request_id": {"type": "string"},
            "retry_after": {"type": "integer", "description": "Seconds."},
        },
    }
    error = {
        "type": "object",
        # The bank's own errors need not have extensions.
        "required": ["message"],
        "properties": {"message": {"type": "string"}, "extensions": extensions},
    }
    return {"type": "object", "required": ["errors"], "properties": {"errors": {"type": "array", "items": error}}}
