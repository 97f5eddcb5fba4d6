"""What every refusal has in common."""

from typing import Any

import httpx


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check that an answer is a problem document (RFC 9457) of this status and code, and return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert problem["code"] == code
    assert problem["type"] == f"urn:stitch-token-broker:error:{code}"
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    return problem


def assert_graphql_refusal(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check that an answer refuses in GraphQL's shape, and return the extensions of its one error."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].partition(";")[0] in (
        "application/json",
        "application/graphql-response+json",
    )
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body.keys() == {"errors"}
    [error] = body["errors"]
    assert error["message"]
    extensions: dict[str, Any] = error["extensions"]
    assert extensions["code"] == code
    assert extensions["request_id"] == answer.headers["x-request-id"]
    return extensions
