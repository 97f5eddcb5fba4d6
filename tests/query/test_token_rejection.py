import gzip
import json
import zlib

import pytest

from app.query.token_rejection import MAX_REJECTION_BYTES, TokenRejection, find_rejection, may_be_rejection

TOP_LEVEL = {
    "errors": [{"message": "UNAUTHENTICATED: Token is expired or malformed"}],
    "extensions": {"code": "UNAUTHENTICATED"},
}
NESTED = {"data": None, "errors": [{"message": "no", "extensions": {"code": "UNAUTHENTICATED"}}]}
FIELD_ERROR = {"data": None, "errors": [{"path": ["pay"], "extensions": {"code": "UNAUTHENTICATED"}}]}
OTHERS = [
    {"data": {"user": {"id": "UNAUTHENTICATED"}}},
    {"data": {"user": None}, "errors": [{"extensions": {"code": "UNAUTHENTICATED"}}]},
    {"errors": [{"message": "UNAUTHENTICATED", "extensions": {"code": "FORBIDDEN"}}]},
    {"errors": [{"extensions": {"code": "USER_INTERACTION_REQUIRED", "x": "UNAUTHENTICATED"}}]},
    {"errors": "UNAUTHENTICATED"},
    {"errors": ["UNAUTHENTICATED"], "extensions": "UNAUTHENTICATED"},
    ["UNAUTHENTICATED"],
    {},
]


def rejects_token(body: bytes, content_encoding: str) -> bool:
    return find_rejection(body, content_encoding) is not TokenRejection.NONE


@pytest.mark.parametrize(
    "response", [FIELD_ERROR, [TOP_LEVEL, FIELD_ERROR], {**TOP_LEVEL, "errors": [{"message": "no", "path": ["pay"]}]}]
)
def test_a_field_error_is_told_from_a_request_error(response: object) -> None:
    assert find_rejection(json.dumps(response).encode(), "") is TokenRejection.FIELD_ERROR
    assert find_rejection(json.dumps([TOP_LEVEL, NESTED]).encode(), "") is TokenRejection.REQUEST_ERROR


@pytest.mark.parametrize("response", [TOP_LEVEL, NESTED])
def test_both_forms_of_the_rejection_are_recognised(response: object) -> None:
    body = json.dumps(response).encode()
    assert rejects_token(body, "")
    assert rejects_token(body, "identity")
    assert rejects_token(gzip.compress(body), "gzip")
    assert rejects_token(zlib.compress(body), "deflate")


@pytest.mark.parametrize("response", OTHERS)
def test_other_responses_are_not_taken_for_a_rejection(response: object) -> None:
    assert not rejects_token(json.dumps(response).encode(), "")


@pytest.mark.parametrize("body", [b"", b"UNAUTHENTICATED", b"[" * 2_000 + b"UNAUTHENTICATED", b"\xff UNAUTHENTICATED"])
def test_an_invalid_body_is_not_taken_for_a_rejection(body: bytes) -> None:
    assert not rejects_token(body, "")
    assert not rejects_token(body, "gzip")


def test_a_body_that_expands_enormously_is_not_decompressed_to_its_end() -> None:
    huge = b" " * 10_000_000 + json.dumps(TOP_LEVEL).encode()
    assert not rejects_token(gzip.compress(huge), "gzip")


@pytest.mark.parametrize(
    ("content_type", "length", "expected"),
    [
        ("application/json; charset=utf-8", 100, True),
        ("application/graphql-response+json", None, True),
        ("application/json", MAX_REJECTION_BYTES + 1, False),
        ("text/html", 100, False),
        ("multipart/mixed; boundary=-", None, False),
    ],
)
def test_only_short_json_responses_are_inspected(content_type: str, length: int | None, expected: bool) -> None:
    assert may_be_rejection(content_type, length) is expected
