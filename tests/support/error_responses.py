"""Checks what all error responses have in common."""

from typing import Any

import httpx


def assert_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check that a response is a problem document (RFC 9457) of this status and code, and return it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    assert problem["code"] == code
    assert problem["type"] == f"urn:stitch-token-broker:error:{code}"
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == response.headers["x-request-id"]
    return problem


def assert_graphql_error(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check that a response is a GraphQL error of the broker, and return its extensions."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"].partition(";")[0] in (
        "application/json",
        "application/graphql-response+json",
    )
    assert response.headers["cache-control"] == "no-store"
    body = response.json()
    assert body.keys() == {"errors"}
    [error] = body["errors"]
    assert error["message"]
    extensions: dict[str, Any] = error["extensions"]
    assert extensions["code"] == code
    assert extensions["request_id"] == response.headers["x-request-id"]
    return extensions
